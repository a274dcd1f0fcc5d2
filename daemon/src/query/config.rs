//! `config.show`, `config.check`, and the words for a config that was not changed.

use backup_proto::error::{Class, ErrorKind, RpcError};
use backup_proto::path::WirePath;
use backup_proto::status::{ConfigCheck, ConfigProblem, ConfigText};

use crate::config::{EditError, check, read_text};
use crate::context::Context;
use crate::wire::class_of;

pub(super) fn show(context: &Context) -> Result<ConfigText, RpcError> {
    let path = context.config_file().path();
    let text = read_text(path).map_err(|error| {
        RpcError::with_class(ErrorKind::ConfigInvalid, Class::Permission, error.to_string(), "Correct the file.")
    })?;
    Ok(ConfigText { path: WirePath::from(path), exists: text.is_some(), text: text.unwrap_or_default() })
}

pub(super) fn check_now(context: &Context) -> ConfigCheck {
    let file = context.config_file();
    let problems = match check(file.path(), false, file.surroundings()) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems,
    };
    let problems = problems.into_iter().map(|problem| ConfigProblem {
        line: problem.line.and_then(|line| u32::try_from(line).ok()),
        message: format!("{} {}", problem.message, problem.advice),
    });
    ConfigCheck { path: WirePath::from(file.path()), exists: file.path().exists(), problems: problems.collect() }
}

/// Says why the config was not changed.
pub(super) fn edit_error(error: &EditError) -> RpcError {
    let message = error.to_string();
    match error {
        EditError::Broken(_) => RpcError::new(ErrorKind::ConfigInvalid, message, "Correct the config, then try again."),
        EditError::Refused(_) => RpcError::new(ErrorKind::InvalidParams, message, "Nothing was changed."),
        EditError::Exists { .. } => RpcError::new(ErrorKind::AlreadyExists, message, "Nothing was changed."),
        EditError::Io { source, .. } => {
            let class = backup_engine::Class::of_io(source);
            let advice = backup_engine::error::advice_for(class);
            RpcError::with_class(ErrorKind::Storage, class_of(class), message, advice)
        }
    }
}

/// Returns a path as text, which is all that a config can hold.
pub(super) fn utf8(path: &WirePath) -> Result<String, RpcError> {
    String::from_utf8(path.as_bytes().to_vec()).map_err(|_| {
        let message = format!("`{path}` is not UTF-8 and cannot stand in the config");
        RpcError::new(ErrorKind::InvalidParams, message, "Name a folder above it, or rename it.")
    })
}
