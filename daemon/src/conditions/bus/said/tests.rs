//! Which source is believed.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn said(answers: impl IntoIterator<Item = (Service, Answer)>) -> Said {
    answers.into_iter().map(|(service, answer)| (service, (answer, at("2024-05-01T12:00:00Z")))).collect()
}

/// What files say: on mains, with a default route and a tunnel that is nobody's but the kernel's.
fn files() -> Readings {
    let at = at("2024-05-01T12:00:05Z");
    Readings {
        power: Reading::of(Some(Power { on_battery: false, percent: Some(50) }), "a file", at),
        online: Reading::of(Some(true), "a file", at),
        vpn: Reading::of(Some(true), "a file", at),
        ..Readings::unknown(at)
    }
}

/// S0.29.
#[test]
fn a_service_is_believed_before_a_file_and_what_it_leaves_out_is_the_files() {
    let power = |percent| said([(Service::Power, Answer::Power { on_battery: true, percent })]);
    let of = |said: &Said| over(said, files()).power;
    let told = of(&power(Some(34)));
    assert_eq!(told.value, Some(Power { on_battery: true, percent: Some(34) }));
    assert_eq!((told.source, told.at), ("UPower", at("2024-05-01T12:00:00Z")));
    assert_eq!(of(&power(None)).value, Some(Power { on_battery: true, percent: Some(50) }));
    assert_eq!(over(&Said::new(), files()), files(), "where nobody answers nothing changes");
    let both = over(&said([(Service::Profile, Answer::Saver(true)), (Service::Login, Answer::Idle(false))]), files());
    assert_eq!((both.power_saver.value, both.power_saver.source), (Some(true), "power-profiles-daemon"));
    assert_eq!((both.idle.value, both.idle.source), (Some(false), "logind"));
}

#[test]
fn links_that_are_not_managed_are_there_all_the_same() {
    let none = Network { online: Some(false), vpn: Some(false), ..Network::default() };
    let said = said([(Service::Network, Answer::Network(none))]);
    let read = over(&said, files());
    assert_eq!((read.online.value, read.online.source), (Some(true), "a file"));
    assert_eq!((read.vpn.value, read.vpn.source), (Some(true), "a file"));
    let alone = over(&said, Readings::unknown(at("2024-05-01T12:00:05Z")));
    assert_eq!((alone.online.value, alone.online.source), (Some(false), "NetworkManager"));
    assert_eq!(alone.metered.value, None, "nobody has said that it is free");
}

#[test]
fn numbers_mean_what_network_manager_documents() {
    let read = |state, connectivity| {
        let network = Network::of_numbers(Some(state), Some(connectivity), None);
        (network.online, network.captive)
    };
    assert_eq!(read(70, 4), (Some(true), Some(false)));
    assert_eq!(read(60, 2), (Some(true), Some(true)), "somebody has to sign in");
    assert_eq!(read(60, 3), (None, None), "a network without a way out");
    assert_eq!(read(20, 1), (Some(false), None));
    assert_eq!(read(70, 0), (Some(true), None), "nobody checks");
    assert_eq!((read(10, 0), read(20, 0), read(50, 0)), ((Some(false), None), (Some(false), None), (None, None)));
    assert_eq!(read(7_000, 99), (None, None), "rubbish");
    let metered = |number| Network::of_numbers(None, None, number).metered;
    let all = [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)].map(metered);
    assert_eq!(all, [None, None, Some(true), Some(false), Some(true), Some(false), None]);
}

#[test]
fn services_are_known_by_names_and_objects() {
    for service in Service::ALL {
        for (name, path) in service.places() {
            assert_eq!((Service::of_name(name), Service::of_path(path)), (Some(service), Some(service)));
        }
    }
    assert_eq!((Service::of_name("org.freedesktop.DBus"), Service::of_path("/")), (None, None));
    assert_eq!(Service::ALL.map(|service| service as usize), [0, 1, 2, 3], "each has its place");
}
