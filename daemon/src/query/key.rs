//! `key.list`, `key.add`, `key.remove`, `key.change`.

use backup_proto::error::RpcError;
use backup_proto::key::{Key, KeyChanged, Secret};
use backup_proto::page::{Page, PageBuilder};
use backup_proto::params::{KeyAdd, KeyChange, KeyList, KeyRemove};

use crate::config::DEFAULT_TARGET;
use crate::context::Context;

pub(super) fn list(params: &KeyList, context: &Context) -> Result<Page<Key>, RpcError> {
    let keys = context.targets.keys(name(params.target.as_deref()))?;
    let after = params.page.after.as_deref();
    let start = after.and_then(|after| keys.iter().position(|key| key.id == after)).map_or(0, |at| at + 1);
    let mut builder = PageBuilder::new(&params.page);
    for key in keys.into_iter().skip(start) {
        if !builder.push(key.id.clone(), key) {
            break;
        }
    }
    Ok(builder.finish())
}

pub(super) fn add(params: &KeyAdd, context: &Context) -> Result<Key, RpcError> {
    context.targets.add_key(name(params.target.as_deref()), params.new_password.reveal())
}

pub(super) fn remove(params: &KeyRemove, context: &Context) -> Result<Key, RpcError> {
    context.targets.remove_key(name(params.target.as_deref()), &params.key)
}

pub(super) fn change(params: &KeyChange, context: &Context) -> Result<KeyChanged, RpcError> {
    context.targets.change_key(name(params.target.as_deref()), params.new_password.as_ref().map(Secret::reveal))
}

fn name(target: Option<&str>) -> &str {
    target.unwrap_or(DEFAULT_TARGET)
}
