//! The JSON Schema of the format, for editors that complete and check as one types. Made from the same keys as the checks.

use serde_json::{Map, Value, json};

use crate::language::manifest::keys::{
    CheckpointKey, DataKey, ForeachKey, RangeKey, ResourceKey, RetryKey, RootKey, SettingKey, TaskKey, WorkflowKey,
};

/// Names of tasks, params and columns.
const NAME: &str = "^[A-Za-z_][A-Za-z0-9_-]*$";

/// Returns the JSON Schema (2020-12) of `workflow.toml`.
pub fn schema() -> Value {
    let root = RootKey::ALL.iter().map(|key| {
        let schema = match key {
            RootKey::Name => json!({ "type": "string", "minLength": 1, "maxLength": 200 }),
            RootKey::Schema => json!({ "const": 1 }),
            RootKey::Description => text(),
            RootKey::Params => named(&scalar()),
            RootKey::Data => named(&data()),
            RootKey::Defaults => table(settings().collect()),
            RootKey::Workflow => workflow(),
            RootKey::Tasks => json!({ "allOf": [named(&task())], "minProperties": 1 }),
        };
        (key.text(), key.about(), schema)
    });
    let mut schema = table(root.collect());
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".to_owned(), json!("csync workflow"));
        object.insert("required".to_owned(), json!(["name", "tasks"]));
    }
    schema
}

/// Makes a table of these keys and no others.
fn table(keys: Vec<(&str, &str, Value)>) -> Value {
    let properties: Map<String, Value> = keys
        .into_iter()
        .map(|(key, about, mut schema)| {
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("description".to_owned(), json!(about));
            }
            (key.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// Makes a table whose keys are names.
fn named(value: &Value) -> Value {
    json!({ "type": "object", "propertyNames": { "pattern": NAME }, "additionalProperties": value })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn texts() -> Value {
    json!({ "type": "array", "items": text() })
}

fn text_or_texts() -> Value {
    json!({ "anyOf": [text(), texts()] })
}

fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn count(least: u64) -> Value {
    json!({ "type": "integer", "minimum": least })
}

fn data() -> Value {
    table(DataKey::ALL.iter().map(|key| (key.text(), key.about(), text_or_texts())).collect())
}

fn workflow() -> Value {
    table(WorkflowKey::ALL.iter().map(|key| (key.text(), key.about(), count(1))).collect())
}

fn task() -> Value {
    let own = TaskKey::ALL.iter().map(|key| {
        let schema = match key {
            TaskKey::Run => json!({ "anyOf": [text(), { "type": "array", "items": text(), "minItems": 1 }] }),
            TaskKey::Description => text(),
            TaskKey::Inputs | TaskKey::Outputs | TaskKey::Needs => texts(),
            TaskKey::Foreach => foreach(),
            TaskKey::Matrix => matrix(),
            TaskKey::Include | TaskKey::Exclude => {
                json!({ "type": "array", "items": { "type": "object", "additionalProperties": scalar(), "minProperties": 1 } })
            }
            TaskKey::When => json!({ "type": ["string", "boolean"] }),
        };
        (key.text(), key.about(), schema)
    });
    let mut task = table(own.chain(settings()).collect());
    if let Some(task) = task.as_object_mut() {
        task.insert("required".to_owned(), json!(["run"]));
    }
    task
}

fn foreach() -> Value {
    let steps = range();
    let table = table(
        ForeachKey::ALL
            .iter()
            .map(|key| (key.text(), key.about(), if *key == ForeachKey::Range { steps.clone() } else { text() }))
            .collect(),
    );
    let rows = json!({ "type": "array", "items": { "type": "object", "additionalProperties": scalar() } });
    let list = json!({ "type": "array", "items": scalar() });
    json!({ "anyOf": [text(), list, rows, table] })
}

fn range() -> Value {
    json!({ "type": "array", "items": { "type": "integer" }, "minItems": 2, "maxItems": 3 })
}

fn matrix() -> Value {
    let list = json!({ "type": "array", "items": scalar(), "minItems": 1 });
    let steps = json!({
        "type": "object", "properties": { "range": range() }, "required": ["range"], "additionalProperties": false
    });
    json!({ "allOf": [named(&json!({ "anyOf": [list, steps] }))], "minProperties": 1 })
}

fn settings() -> impl Iterator<Item = (&'static str, &'static str, Value)> {
    SettingKey::ALL.iter().map(|key| {
        let flags = || json!({ "type": "object", "additionalProperties": scalar() });
        let schema = match key {
            SettingKey::Resources => {
                let one = resources();
                json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
            }
            SettingKey::Retries => count(0),
            SettingKey::Retry => retry(),
            SettingKey::OnError => json!({ "enum": ["finish", "stop", "ignore"] }),
            SettingKey::Cache => json!({ "type": "boolean" }),
            SettingKey::Env => json!({
                "type": "object", "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }, "additionalProperties": scalar()
            }),
            SettingKey::Workdir
            | SettingKey::Container
            | SettingKey::Conda
            | SettingKey::Stdin
            | SettingKey::Account
            | SettingKey::Qos
            | SettingKey::Constraint => json!({ "type": "string", "minLength": 1 }),
            SettingKey::Partition => json!({ "type": "string" }),
            SettingKey::Binds | SettingKey::Modules | SettingKey::Setup | SettingKey::On => text_or_texts(),
            SettingKey::Secrets | SettingKey::Tags => texts(),
            SettingKey::Priority => json!({ "type": "integer" }),
            SettingKey::MaxParallel => count(1),
            SettingKey::Checkpoint => checkpoint(),
            SettingKey::Slurm | SettingKey::Pbs | SettingKey::Sge => flags(),
        };
        (key.text(), key.about(), schema)
    })
}

fn resources() -> Value {
    table(
        ResourceKey::ALL
            .iter()
            .map(|key| {
                let schema = match key {
                    ResourceKey::Cpus => amount(&count(1)),
                    ResourceKey::Mem | ResourceKey::Time => amount(&text()),
                    ResourceKey::Disk => text(),
                    ResourceKey::Gpus => count(0),
                    ResourceKey::Nodes | ResourceKey::Processes => count(1),
                    ResourceKey::Internet => json!({ "type": "boolean" }),
                };
                (key.text(), key.about(), schema)
            })
            .collect(),
    )
}

/// Makes `"auto"`, a value, or `{ min = , max = }`.
fn amount(value: &Value) -> Value {
    let range = table(RangeKey::ALL.iter().map(|key| (key.text(), key.about(), value.clone())).collect());
    json!({ "anyOf": [{ "const": "auto" }, value, range] })
}

fn retry() -> Value {
    table(
        RetryKey::ALL
            .iter()
            .map(|key| {
                let schema = match key {
                    RetryKey::Max => count(0),
                    RetryKey::On => text_or_texts(),
                    RetryKey::Mem | RetryKey::Time | RetryKey::Factor => {
                        json!({ "type": "number", "minimum": 1, "maximum": 1000 })
                    }
                    RetryKey::Delay | RetryKey::MaxDelay => text(),
                };
                (key.text(), key.about(), schema)
            })
            .collect(),
    )
}

fn checkpoint() -> Value {
    let mut schema = table(CheckpointKey::ALL.iter().map(|key| (key.text(), key.about(), text())).collect());
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("required".to_owned(), json!(["signal", "before"]));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::manifest::read;

    /// Writes the keys down to a path as TOML, with a value that no key takes.
    fn probe(path: &[&str]) -> String {
        let path: Vec<String> = path.iter().map(|key| format!("\"{key}\"")).collect();
        format!("{} = 1979-05-27\n", path.join("."))
    }

    /// Collects every path of keys of a schema; names stand for themselves.
    fn paths(schema: &Value, path: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
        for word in ["anyOf", "allOf"] {
            for part in schema[word].as_array().into_iter().flatten() {
                paths(part, path, all);
            }
        }
        if schema["additionalProperties"].is_object() && schema.get("propertyNames").is_some() {
            path.push("X".to_owned());
            paths(&schema["additionalProperties"], path, all);
            path.pop();
        }
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            assert!(inner["description"].is_string() || key == "range", "{path:?} {key}");
            path.push(key.clone());
            all.push(path.clone());
            paths(inner, path, all);
            path.pop();
        }
    }

    #[test]
    fn the_checks_know_every_key_of_the_schema() {
        let mut all = Vec::new();
        paths(&schema(), &mut Vec::new(), &mut all);
        assert!(all.len() > 100, "{}", all.len());
        for path in all {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let (_, mistakes) = read(&probe(&path));
            let unknown: Vec<_> = mistakes.iter().filter(|mistake| mistake.message.contains("unknown key")).collect();
            assert!(unknown.is_empty(), "{path:?}: {unknown:?}");
            let refused = mistakes.iter().any(|mistake| mistake.message.contains("not a date"));
            // Without a matrix, nothing more is said of these two.
            let last = path.last().copied().unwrap_or_default();
            assert!(refused || matches!(last, "range" | "include" | "exclude"), "{path:?}: {mistakes:?}");
        }
    }

    #[test]
    fn the_schema_knows_every_key_of_the_checks() {
        let schema = schema();
        let root = &schema["properties"];
        let task = &root["tasks"]["allOf"][0]["additionalProperties"]["properties"];
        let defaults = &root["defaults"]["properties"];
        let one = &defaults["resources"]["anyOf"][0]["properties"];
        let has = |table: &Value, keys: Vec<&str>| keys.into_iter().all(|key| table[key].is_object());
        assert!(has(root, RootKey::ALL.iter().map(|key| key.text()).collect()));
        assert!(has(task, TaskKey::ALL.iter().map(|key| key.text()).collect()));
        assert!(has(task, SettingKey::ALL.iter().map(|key| key.text()).collect()));
        assert!(has(defaults, SettingKey::ALL.iter().map(|key| key.text()).collect()));
        assert!(has(one, ResourceKey::ALL.iter().map(|key| key.text()).collect()));
        assert!(has(&defaults["retry"]["properties"], RetryKey::ALL.iter().map(|key| key.text()).collect()));
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(root["defaults"]["additionalProperties"], json!(false));
    }
}
