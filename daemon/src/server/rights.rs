//! Who may do what: one table of roles and rights.

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::message::{Method, Right};

use crate::inbox::Caller;

/// What a caller is to this daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The daemon's own user, or root.
    Owner,
    /// Anybody else.
    Stranger,
}

impl Role {
    /// Returns the role of a caller of a daemon that runs as `own_uid`.
    pub(super) fn of(caller: Caller, own_uid: u32) -> Self {
        if caller.uid == own_uid || caller.uid == 0 { Self::Owner } else { Self::Stranger }
    }

    fn has(self, right: Right) -> bool {
        match (self, right) {
            (Self::Owner, Right::Read | Right::Write) => true,
            (Self::Stranger, Right::Read | Right::Write) => false,
        }
    }
}

/// Lets a caller use a method, or says why not. To say hello and to read what methods there are is everybody's right.
pub(super) fn check(caller: Caller, own_uid: u32, method: Method) -> Result<(), RpcError> {
    let is_open = matches!(method.name, "hello" | "rpc.discover");
    if is_open || Role::of(caller, own_uid).has(method.right) {
        return Ok(());
    }
    let message = format!("user {} may not use `{}` of this daemon", caller.uid, method.name);
    Err(RpcError::new(ErrorKind::NotAllowed, message, "Ask its owner or root to do it, or use a daemon of your own."))
}

#[cfg(test)]
mod tests {
    use backup_proto::message::METHODS;

    use super::*;

    fn allowed(uid: u32, own: u32) -> Vec<&'static str> {
        let caller = Caller { uid, pid: None };
        METHODS.iter().filter(|method| check(caller, own, **method).is_ok()).map(|method| method.name).collect()
    }

    #[test]
    fn the_owner_and_root_may_do_everything_and_others_nothing_but_greet() {
        assert_eq!(allowed(1000, 1000).len(), METHODS.len());
        assert_eq!(allowed(0, 1000).len(), METHODS.len());
        assert_eq!(allowed(1001, 1000), ["hello", "rpc.discover"]);
        assert_eq!(allowed(1000, 0), ["hello", "rpc.discover"]);
    }
}
