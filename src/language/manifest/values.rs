//! Params with the values of one submission, and texts that need nothing but them.

use std::collections::BTreeMap;

use crate::language::document::{Mistakes, did_you_mean};
use crate::language::manifest::draft::{ParamKind, Workflow};
use crate::language::manifest::paths::{localized, part};
use crate::language::manifest::template::{Name, Part, Template};
use crate::model::diagnostic::Diagnostic;
use crate::model::task::PathPart;

/// The params of one submission, in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    params: Vec<String>,
}

impl Values {
    /// Lays what was given (`-p key=value`) over the defaults.
    pub(super) fn new(workflow: &Workflow, given: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Self {
        let mut params: Vec<String> = workflow.params.iter().map(|param| param.value.clone()).collect();
        for (name, value) in given {
            let Some(index) = workflow.params.iter().position(|param| param.name == *name) else {
                let names = || workflow.params.iter().map(|param| param.name.as_str());
                let help = did_you_mean(name, names()).unwrap_or_else(|| {
                    let all: Vec<String> = names().map(|name| format!("`{name}`")).collect();
                    if all.is_empty() {
                        "it has no `[params]`".to_owned()
                    } else {
                        format!("it has {}", all.join(", "))
                    }
                });
                mistakes.push(Diagnostic::error(None, format!("the workflow has no param `{name}`")).help(help));
                continue;
            };
            let (Some(param), Some(place)) = (workflow.params.get(index), params.get_mut(index)) else { continue };
            let wanted = match param.kind {
                ParamKind::Integer | ParamKind::Number if value.trim().parse::<f64>().is_err() => "a number",
                ParamKind::Boolean if !matches!(value.as_str(), "true" | "false") => "`true` or `false`",
                _ => {
                    place.clone_from(value);
                    continue;
                }
            };
            let message = format!("param `{name}` is {wanted}, not `{value}`");
            let help = format!("its default is `{}`", param.value);
            mistakes.push(Diagnostic::error(None, message).related(param.span, "the default").help(help));
        }
        for value in &mut params {
            let dataset = value.strip_prefix("data:").and_then(|rest| rest.split('/').next());
            if dataset.is_some_and(|name| workflow.data.contains_key(name)) {
                *value = localized(value).into_owned();
            }
        }
        Self { params }
    }

    /// Returns a part of a param's value.
    pub(super) fn param(&self, index: u32, of: PathPart) -> &str {
        part(self.params.get(index as usize).map_or("", String::as_str), of)
    }

    /// Fills in a text in which only params stand.
    pub(super) fn constant(&self, workflow: &Workflow, template: Template) -> String {
        let mut text = String::new();
        for part in workflow.templates.parts(template) {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Hole(hole) => {
                    if let Name::Param(index, of) = hole.name {
                        text.push_str(self.param(index, of));
                    }
                }
            }
        }
        text
    }
}
