//! `plan.list` and `plan.add`.

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::page::{Page, PageBuilder};
use backup_proto::params::{PlanAdded, PlanList};
use backup_proto::path::WirePath;
use backup_proto::target::Plan;

use super::config::{edit_error, utf8};
use crate::conditions::Policy;
use crate::config::{NewPlan, PlanConfig, keep_of};
use crate::context::Context;
use crate::supervisor::{State, next_run};

pub(super) fn list(params: &PlanList, context: &Context, state: &State) -> Page<Plan> {
    let config = context.config();
    let now = context.clock.now().wall;
    let mut builder = PageBuilder::new(&params.page);
    let after = params.page.after.as_deref().unwrap_or_default();
    for (name, plan) in config.plans.iter().filter(|(name, _)| name.as_str() > after) {
        let next_run = next_run(state, &config, name, now);
        let last_success = state.successes.get(name).copied();
        let window = Policy::of(&config, Some(name), None).window().map(|window| window.text().to_owned());
        if !builder.push(name.clone(), Plan { next_run, last_success, window, ..view(name, plan) }) {
            break;
        }
    }
    builder.finish()
}

pub(super) fn add(plan: &Plan, context: &Context) -> Result<PlanAdded, RpcError> {
    let new = NewPlan {
        name: plan.name.clone(),
        sources: plan.sources.iter().map(utf8).collect::<Result<_, _>>()?,
        critical: plan.critical.iter().map(utf8).collect::<Result<_, _>>()?,
        exclude: plan.exclude.clone(),
        targets: plan.targets.clone(),
        schedule: plan.schedule.clone(),
        keep: plan.keep.clone(),
    };
    context.config_file().add_plan(&new).map_err(|error| edit_error(&error))?;
    let config = context.config();
    let added = config.plans.get(&plan.name).ok_or_else(|| {
        let message = format!("the plan `{}` was added and is gone again", plan.name);
        RpcError::new(ErrorKind::PlanNotFound, message, "Somebody else edits the config too; look at it.")
    })?;
    Ok(PlanAdded { plan: view(&plan.name, added), config: WirePath::from(context.config_file().path()) })
}

fn view(name: &str, plan: &PlanConfig) -> Plan {
    Plan {
        name: name.to_owned(),
        sources: plan.sources.iter().map(|source| WirePath::from(source.as_path())).collect(),
        critical: plan.critical.iter().map(|path| WirePath::from(path.as_path())).collect(),
        exclude: plan.exclude.clone(),
        targets: plan.targets.clone(),
        schedule: plan.schedule_text.clone(),
        keep: plan.keep.as_ref().map(keep_of),
        next_run: None,
        window: None,
        last_success: None,
    }
}
