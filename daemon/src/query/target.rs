//! `target.list`, `target.add`, `target.init`, `target.adopt`, `target.check`.

use backup_proto::error::RpcError;
use backup_proto::page::{Page, PageBuilder};
use backup_proto::params::{TargetAdd, TargetInit, TargetList};
use backup_proto::target::{Target, TargetCheck};

use super::config::{edit_error, utf8};
use crate::config::NewTarget;
use crate::context::Context;
use crate::targets::TargetError;

pub(super) fn list(params: &TargetList, context: &Context) -> Page<Target> {
    let mut builder = PageBuilder::new(&params.page);
    let targets = context.targets.overview();
    let after = params.page.after.as_deref();
    let start = after.and_then(|after| targets.iter().position(|target| target.name == after)).map_or(0, |at| at + 1);
    for target in targets.into_iter().skip(start) {
        if !builder.push(target.name.clone(), target) {
            break;
        }
    }
    builder.finish()
}

pub(super) fn add(params: &TargetAdd, context: &Context) -> Result<Target, RpcError> {
    let new = NewTarget {
        name: params.name.clone(),
        url: params.url.clone(),
        password_file: params.password_file.as_ref().map(utf8).transpose()?,
        password_command: params.password_command.clone(),
    };
    context.config_file().add_target(&new).map_err(|error| edit_error(&error))?;
    view(&params.name, context)
}

pub(super) fn init(params: &TargetInit, context: &Context) -> Result<Target, RpcError> {
    let like = params.copy_chunker_params.as_deref();
    context.targets.init(&params.name, like).map_err(|error| error.to_rpc())?;
    view(&params.name, context)
}

pub(super) fn adopt(name: &str, context: &Context) -> Result<Target, RpcError> {
    context.targets.adopt(name).map_err(|error| error.to_rpc())?;
    view(name, context)
}

pub(super) fn check(name: &str, context: &Context) -> Result<TargetCheck, RpcError> {
    context.targets.check(name).map_err(|error| error.to_rpc())
}

fn view(name: &str, context: &Context) -> Result<Target, RpcError> {
    context.targets.view_of(name).map_err(|error: TargetError| error.to_rpc())
}
