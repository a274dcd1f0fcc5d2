//! Who may do what: one table of roles and rights.

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::message::{Method, Right};

use super::Server;
use crate::inbox::Caller;

/// What a caller is to this daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The daemon's own user, or root.
    Owner,
    /// Another user, to whom the configuration has opened the socket.
    Guest,
    /// Another user, to whom nobody has opened it.
    Stranger,
}

impl Role {
    /// Returns the role of a caller.
    pub(super) fn of(caller: Caller, server: &Server) -> Self {
        Self::among(caller.uid, server.about.uid, server.shared.has_guests)
    }

    fn among(uid: u32, own_uid: u32, has_guests: bool) -> Self {
        match uid {
            0 => Self::Owner,
            uid if uid == own_uid => Self::Owner,
            _ if has_guests => Self::Guest,
            _ => Self::Stranger,
        }
    }

    fn has(self, right: Right) -> bool {
        match (self, right) {
            (Self::Owner, Right::Read | Right::Write) | (Self::Guest, Right::Read) => true,
            (Self::Guest, Right::Write) | (Self::Stranger, Right::Read | Right::Write) => false,
        }
    }

    /// Tells whether this role may use a method. To say hello and to read what methods there are is everybody's right.
    fn may(self, method: Method) -> bool {
        matches!(method.name, "hello" | "rpc.discover") || self.has(method.right)
    }
}

/// Lets a caller use a method, or says why not.
pub(super) fn check(caller: Caller, server: &Server, method: Method) -> Result<(), RpcError> {
    if Role::of(caller, server).may(method) {
        return Ok(());
    }
    tracing::debug!(uid = caller.uid, pid = caller.pid, method = method.name, "refused");
    let message = format!("user {} may not use `{}` of this daemon", caller.uid, method.name);
    Err(RpcError::new(ErrorKind::NotAllowed, message, "Ask its owner or root to do it, or use a daemon of your own."))
}

#[cfg(test)]
mod tests {
    use backup_proto::message::METHODS;

    use super::*;

    fn allowed(role: Role) -> Vec<&'static str> {
        METHODS.iter().filter(|method| role.may(**method)).map(|method| method.name).collect()
    }

    #[test]
    fn the_owner_and_root_may_do_everything_and_strangers_nothing_but_greet() {
        for (uid, own_uid) in [(1000, 1000), (0, 1000)] {
            assert_eq!(allowed(Role::among(uid, own_uid, false)).len(), METHODS.len());
        }
        for (uid, own_uid) in [(1001, 1000), (1000, 0)] {
            assert_eq!(allowed(Role::among(uid, own_uid, false)), ["hello", "rpc.discover"]);
        }
    }

    #[test]
    fn guests_look_and_neither_change_anything_nor_see_inside_files() {
        let may = allowed(Role::among(1001, 1000, true));
        assert!(may.contains(&"daemon.status") && may.contains(&"events.subscribe"), "{may:?}");
        let changes = METHODS.iter().filter(|method| method.is_change || method.name.ends_with(".cat"));
        assert!(changes.into_iter().all(|method| !may.contains(&method.name)), "{may:?}");
    }
}
