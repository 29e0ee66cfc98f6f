//! Puts the instances in an order in which everything comes after what it waits for, or says what waits in a circle.

use crate::language::document::Mistakes;
use crate::language::manifest::draft::Workflow;
use crate::language::manifest::outputs::label;
use crate::model::diagnostic::Diagnostic;
use crate::model::id::{InstanceId, TaskId};
use crate::model::plan::Plan;

/// Checks that nothing waits for itself, through files or `needs`.
pub(super) fn check_order(plan: &Plan, workflow: &Workflow, mistakes: &mut Mistakes) {
    let mut state = State::new(plan);
    state.run(plan);
    if state.done < plan.instances.len() {
        mistakes.push(state.circle(plan, workflow));
    }
}

/// What still waits.
struct State {
    /// Per instance: files' makers that are not done.
    files: Vec<u32>,
    /// Per task: needed tasks that are not over.
    needs: Vec<u32>,
    /// Per task: instances that are not done.
    open: Vec<u32>,
    /// Per task: those that need it.
    needed_by: Vec<Vec<TaskId>>,
    ready: Vec<InstanceId>,
    done: usize,
}

impl State {
    fn new(plan: &Plan) -> Self {
        let mut files = vec![0u32; plan.instances.len()];
        for dependent in &plan.dependents {
            if let Some(waits) = files.get_mut(dependent.index()) {
                *waits += 1;
            }
        }
        let mut needed_by = vec![Vec::new(); plan.tasks.len()];
        for (index, task) in plan.tasks.iter().enumerate() {
            for need in &task.needs {
                if let Some(list) = needed_by.get_mut(need.index()) {
                    list.push(TaskId(index as u32));
                }
            }
        }
        let needs = plan.tasks.iter().map(|task| task.needs.len() as u32).collect();
        let open = plan.task_instances.iter().map(|slice| slice.len).collect();
        Self { files, needs, open, needed_by, ready: Vec::new(), done: 0 }
    }

    fn run(&mut self, plan: &Plan) {
        for (index, task) in plan.tasks.iter().enumerate() {
            let task_id = TaskId(index as u32);
            if task.needs.is_empty() && self.begin(plan, task_id) {
                self.over(plan, task_id);
            }
        }
        while let Some(instance) = self.ready.pop() {
            self.done += 1;
            for &dependent in plan.dependents(instance) {
                let Some(waits) = self.files.get_mut(dependent.index()) else { continue };
                *waits -= 1;
                if *waits == 0 && self.needs.get(plan.instance(dependent).task.index()) == Some(&0) {
                    self.ready.push(dependent);
                }
            }
            let task = plan.instance(instance).task;
            if let Some(open) = self.open.get_mut(task.index()) {
                *open -= 1;
                if *open == 0 {
                    self.over(plan, task);
                }
            }
        }
    }

    /// Makes a task's instances ready that wait for no file: all that it needs is over. Returns whether it has none.
    fn begin(&mut self, plan: &Plan, task: TaskId) -> bool {
        let files = &self.files;
        let free = plan.instances_of(task).filter(|instance| files.get(instance.index()) == Some(&0));
        self.ready.extend(free);
        self.open.get(task.index()) == Some(&0)
    }

    /// Lets those begin that needed a task.
    fn over(&mut self, plan: &Plan, task: TaskId) {
        let mut over = vec![task];
        while let Some(task) = over.pop() {
            let needed_by = self.needed_by.get_mut(task.index()).map(std::mem::take).unwrap_or_default();
            for other in needed_by {
                let Some(needs) = self.needs.get_mut(other.index()) else { continue };
                *needs -= 1;
                if *needs > 0 {
                    continue;
                }
                // Without instances, it is over when what it needs is: a list, for a chain of these can be long.
                if self.begin(plan, other) {
                    over.push(other);
                }
            }
        }
    }

    /// Walks backwards from something that waits until it comes round.
    fn circle(&self, plan: &Plan, workflow: &Workflow) -> Diagnostic {
        let waits = |instance: InstanceId| {
            self.files.get(instance.index()).is_some_and(|&files| files > 0)
                || self.needs.get(plan.instance(instance).task.index()).is_some_and(|&needs| needs > 0)
        };
        let Some(start) = plan.instance_ids().find(|&instance| waits(instance)) else {
            return Diagnostic::error(None, "tasks wait for each other");
        };
        let mut seen = vec![0u32; plan.instances.len()];
        let mut path = Vec::new();
        let mut at = start;
        loop {
            if let Some(place) = seen.get_mut(at.index()) {
                if *place > 0 {
                    path.drain(..*place as usize - 1);
                    break;
                }
                path.push(at);
                *place = path.len() as u32;
            }
            let maker = plan
                .inputs(at)
                .iter()
                .find_map(|&path| plan.producer(path))
                .filter(|&maker| maker != at && waits(maker));
            let all = || plan.inputs(at).iter().filter_map(|&path| plan.producer(path));
            let maker = maker.or_else(|| all().find(|&maker| maker != at && waits(maker)));
            let maker = maker.or_else(|| {
                let needs = &plan.task_of(at).needs;
                needs.iter().flat_map(|&need| plan.instances_of(need)).find(|&instance| waits(instance))
            });
            let Some(maker) = maker else { break };
            at = maker;
        }
        // What comes first waits for what follows: people read it the other way round.
        path.reverse();
        let first = path.iter().enumerate().min_by_key(|(_, instance)| instance.0).map_or(0, |(index, _)| index);
        path.rotate_left(first);
        let mut names: Vec<String> = path.iter().map(|&instance| label(plan, instance)).collect();
        names.extend(names.first().cloned());
        if names.len() > 12 {
            names.splice(6..names.len() - 5, ["...".to_owned()]);
        }
        let span =
            |instance: &InstanceId| workflow.tasks.get(plan.instance(*instance).task.index()).map(|task| task.span);
        let mut mistake = Diagnostic::error(
            path.first().and_then(span),
            format!("tasks wait for each other in a circle: {}", names.join(" -> ")),
        );
        for (instance, next) in path.iter().zip(path.iter().skip(1)).take(8) {
            if let Some(span) = span(next) {
                mistake = mistake.related(span, format!("waits for {}", label(plan, *instance)));
            }
        }
        mistake.help("take out one `needs`, or one input that is another's output")
    }
}
