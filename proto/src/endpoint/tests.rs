//! The table of places, row by row, and which of flag, variable, service manager and table wins.

use super::*;

fn environment(platform: Platform, uid: u32, variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Environment { platform, uid, variables }
}

fn user(variables: &[(&str, &str)]) -> Environment {
    environment(Platform::Linux, 1000, variables)
}

fn found(environment: &Environment) -> Places {
    places(environment, &Overrides::default()).unwrap()
}

fn places_of(config: &str, state_dir: &str, socket: &str, repository: &str) -> Places {
    Places {
        config: config.into(),
        state_dir: state_dir.into(),
        keys: Path::new(state_dir).join("keys"),
        socket: socket.into(),
        repository: repository.into(),
    }
}

#[test]
fn a_user_has_the_xdg_defaults() {
    let places = found(&user(&[("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "/run/user/1000")]));
    assert_eq!(
        places,
        places_of(
            "/home/ada/.config/backupd/config.toml",
            "/home/ada/.local/state/backupd",
            "/run/user/1000/backupd/backupd.sock",
            "/home/ada/.local/share/backupd/repository",
        )
    );
}

#[test]
fn a_users_xdg_variables_count_when_they_are_absolute() {
    let places = found(&user(&[
        ("HOME", "/home/ada"),
        ("XDG_CONFIG_HOME", "/c"),
        ("XDG_STATE_HOME", "/s"),
        ("XDG_DATA_HOME", "relative"),
        ("XDG_RUNTIME_DIR", ""),
    ]));
    assert_eq!(
        places,
        places_of(
            "/c/backupd/config.toml",
            "/s/backupd",
            "/s/backupd/backupd.sock",
            "/home/ada/.local/share/backupd/repository"
        )
    );
}

#[test]
fn root_has_the_systems_places_whatever_its_home() {
    let places = found(&environment(Platform::Linux, 0, &[("HOME", "/root"), ("XDG_RUNTIME_DIR", "/run/user/0")]));
    assert_eq!(
        places,
        places_of(
            "/etc/backupd/config.toml",
            "/var/lib/backupd",
            "/run/backupd/backupd.sock",
            "/var/lib/backupd/repository"
        )
    );
}

#[test]
fn a_mac_has_one_folder() {
    let folder = "/Users/ada/Library/Application Support/backupd";
    let places = found(&environment(Platform::MacOs, 501, &[("HOME", "/Users/ada"), ("XDG_STATE_HOME", "/s")]));
    assert_eq!(
        places,
        places_of(
            &format!("{folder}/config.toml"),
            folder,
            &format!("{folder}/backupd.sock"),
            &format!("{folder}/repository")
        )
    );
    let places = found(&environment(Platform::MacOs, 0, &[]));
    assert_eq!(places.socket, Path::new("/Library/Application Support/backupd/backupd.sock"));
}

#[test]
fn flag_beats_variable_beats_service_manager_beats_table() {
    let mut all = vec![("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "/run/user/1000")];
    all.extend([
        ("STATE_DIRECTORY", "/sd/one:/sd/two"),
        ("RUNTIME_DIRECTORY", "/rd"),
        ("CONFIGURATION_DIRECTORY", "/cd"),
    ]);
    let by_manager = found(&user(&all));
    assert_eq!(by_manager.state_dir, Path::new("/sd/one"));
    assert_eq!(by_manager.socket, Path::new("/rd/backupd.sock"));
    assert_eq!(by_manager.config, Path::new("/cd/config.toml"));

    all.extend([("BACKUPD_CONFIG", "/v.toml"), ("BACKUPD_STATE_DIR", "/v"), ("BACKUPD_SOCKET", "/v.sock")]);
    let by_variable = found(&user(&all));
    assert_eq!(by_variable.state_dir, Path::new("/v"));
    assert_eq!(by_variable.socket, Path::new("/v.sock"));
    assert_eq!(by_variable.config, Path::new("/v.toml"));

    let flags = Overrides { config: Some("f.toml".into()), state_dir: Some("f".into()), socket: Some("f.sock".into()) };
    let by_flag = places(&user(&all), &flags).unwrap();
    assert_eq!(by_flag.state_dir, Path::new("f"));
    assert_eq!(by_flag.socket, Path::new("f.sock"));
    assert_eq!(by_flag.config, Path::new("f.toml"));
    assert_eq!(by_flag.keys, Path::new("f/keys"));
}

#[test]
fn the_systems_repository_follows_a_moved_state() {
    let moved = environment(Platform::Linux, 0, &[("BACKUPD_STATE_DIR", "/data/state")]);
    assert_eq!(found(&moved).repository, Path::new("/data/state/repository"));
}

#[test]
fn without_a_home_it_says_so_unless_everything_is_given() {
    let error = places(&user(&[]), &Overrides::default()).unwrap_err();
    assert!(error.to_string().contains("HOME"));
    assert!(places(&user(&[("HOME", "relative")]), &Overrides::default()).is_err());
    let given = user(&[("BACKUPD_CONFIG", "/c"), ("BACKUPD_STATE_DIR", "/s")]);
    assert_eq!(found(&given).socket, Path::new("/s/backupd.sock"));
}

#[test]
fn a_client_tries_the_users_socket_then_the_systems() {
    let list = candidates(&user(&[("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "/run/user/1000")]), None);
    let sockets: Vec<_> = list.iter().map(|candidate| (candidate.socket.to_str().unwrap(), candidate.owner)).collect();
    assert_eq!(
        sockets,
        [("/run/user/1000/backupd/backupd.sock", Owner::User), ("/run/backupd/backupd.sock", Owner::System)]
    );
}

#[test]
fn a_named_socket_is_tried_alone() {
    let named = user(&[("HOME", "/home/ada"), ("BACKUPD_SOCKET", "/x.sock")]);
    assert_eq!(candidates(&named, None), [Candidate { socket: "/x.sock".into(), owner: Owner::Named }]);
    let flag = candidates(&named, Some(Path::new("/y.sock")));
    assert_eq!(flag, [Candidate { socket: "/y.sock".into(), owner: Owner::Named }]);
}

#[test]
fn the_systems_socket_is_the_systems_also_when_it_is_named() {
    let named = user(&[("HOME", "/home/ada"), ("BACKUPD_SOCKET", "/run/backupd/backupd.sock")]);
    assert_eq!(
        candidates(&named, None),
        [Candidate { socket: "/run/backupd/backupd.sock".into(), owner: Owner::System }]
    );
}

#[test]
fn root_and_the_homeless_try_the_systems_socket_alone() {
    for uid in [0, 1000] {
        let list = candidates(&environment(Platform::Linux, uid, &[]), None);
        assert_eq!(list, [Candidate { socket: "/run/backupd/backupd.sock".into(), owner: Owner::System }]);
    }
}

#[test]
fn a_client_without_a_home_still_finds_its_socket_in_the_runtime_folder() {
    let list = candidates(&user(&[("XDG_RUNTIME_DIR", "/run/user/1000")]), None);
    assert_eq!(list[0].socket, Path::new("/run/user/1000/backupd/backupd.sock"));
}

#[test]
fn a_client_started_by_somebody_elses_service_does_not_take_its_folders_for_the_daemons() {
    let list =
        candidates(&user(&[("HOME", "/home/ada"), ("RUNTIME_DIRECTORY", "/rd"), ("STATE_DIRECTORY", "/sd")]), None);
    assert_eq!(list[0].socket, Path::new("/home/ada/.local/state/backupd/backupd.sock"));
}
