//! The names of users and groups, each looked up once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// The names that were looked up so far. A look-up may go over the network, so none is made twice.
#[derive(Debug, Default)]
pub struct Owners {
    users: Mutex<HashMap<u32, String>>,
    groups: Mutex<HashMap<u32, String>>,
}

impl Owners {
    /// Returns the names of the users and groups that were looked up.
    pub(crate) fn known(&self) -> [BTreeMap<u32, String>; 2] {
        let known = |names: &Mutex<HashMap<u32, String>>| {
            let names = names.lock().unwrap_or_else(PoisonError::into_inner);
            names.iter().map(|(id, name)| (*id, name.clone())).collect()
        };
        [known(&self.users), known(&self.groups)]
    }

    /// Returns the user's name, empty if there is none: restic's way to say so.
    #[must_use]
    pub fn user(&self, uid: u32) -> String {
        cached(&self.users, uid, || uzers::get_user_by_uid(uid).map(|user| user.name().to_owned()))
    }

    /// Returns the group's name, empty if there is none.
    #[must_use]
    pub fn group(&self, gid: u32) -> String {
        cached(&self.groups, gid, || uzers::get_group_by_gid(gid).map(|group| group.name().to_owned()))
    }
}

fn cached(
    names: &Mutex<HashMap<u32, String>>,
    id: u32,
    look_up: impl FnOnce() -> Option<std::ffi::OsString>,
) -> String {
    // The map is whole even if a thread panicked: an entry is put in at once or not at all.
    match names.lock().unwrap_or_else(PoisonError::into_inner).entry(id) {
        Entry::Occupied(known) => known.get().clone(),
        Entry::Vacant(unknown) => {
            let name = look_up().map(|name| name.to_string_lossy().into_owned());
            unknown.insert(name.unwrap_or_default()).clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_an_unused_number_has_none() {
        let owners = Owners::default();
        assert_eq!(owners.user(0), "root");
        assert_eq!(owners.group(0), uzers::get_group_by_gid(0).unwrap().name().to_string_lossy());
        assert_eq!(owners.user(3_999_999_999), "");
        assert_eq!(owners.group(3_999_999_999), "");
    }

    #[test]
    fn a_name_is_looked_up_once() {
        let names = Mutex::default();
        assert_eq!(cached(&names, 7, || Some("seven".into())), "seven");
        assert_eq!(cached(&names, 7, || panic!("it is known")), "seven");
        assert_eq!(cached(&names, 8, || None), "");
        assert_eq!(cached(&names, 8, || panic!("it is known to be missing")), "");
    }
}
