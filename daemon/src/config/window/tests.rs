//! Windows by the clock, over weeks in which it changes.

use std::path::Path;

use super::*;
use crate::config::{Config, Surroundings};

fn window(value: &str) -> Window {
    let surroundings = Surroundings { folder: "/etc".into(), home: None };
    let text = format!("[conditions]\nwindow = {value}");
    let config = Config::parse(&text, Path::new("c"), &surroundings).unwrap();
    config.conditions.window.unwrap().unwrap()
}

fn berlin() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Says when it opens and closes from a time on, in local time.
fn changes(value: &str, from: &str, count: usize) -> Vec<String> {
    let (window, zone) = (window(value), berlin());
    let next = |now: Timestamp| match window.is_open(now, &zone) {
        true => window.closes(now, &zone),
        false => window.opens(now, &zone),
    };
    let times = std::iter::successors(next(at(from)), |now| next(*now));
    times.take(count).map(|time| time.to_zoned(zone.clone()).strftime("%a %H:%M %Z").to_string()).collect()
}

#[test]
fn a_night_belongs_to_the_day_on_which_it_begins() {
    // 1 May 2024 is a Wednesday.
    for (value, expected) in [
        ("\"22:00-06:00\"", ["Wed 22:00 CEST", "Thu 06:00 CEST", "Thu 22:00 CEST"]),
        ("\"fri 22:00-06:00\"", ["Fri 22:00 CEST", "Sat 06:00 CEST", "Fri 22:00 CEST"]),
        ("\"09:00-17:30\"", ["Wed 17:30 CEST", "Thu 09:00 CEST", "Thu 17:30 CEST"]),
        ("\"sat,sun\"", ["Sat 00:00 CEST", "Mon 00:00 CEST", "Sat 00:00 CEST"]),
        ("[\"fri-mon 20:00-24:00\", \"sat\"]", ["Fri 20:00 CEST", "Sun 00:00 CEST", "Sun 20:00 CEST"]),
        ("\"Wednesday 20:00-00:00\"", ["Wed 20:00 CEST", "Thu 00:00 CEST", "Wed 20:00 CEST"]),
    ] {
        assert_eq!(changes(value, "2024-05-01T12:00:00Z", 3), expected, "{value}");
    }
    assert_eq!(changes("\"mon-sun\"", "2024-05-01T12:00:00Z", 1), Vec::<String>::new(), "it never closes");
}

#[test]
fn on_the_days_the_clocks_change_it_is_open_when_the_clock_shows_its_times() {
    let spring = |value| changes(value, "2024-03-30T22:00:00Z", 3);
    assert_eq!(spring("\"01:00-04:00\""), ["Sun 01:00 CET", "Sun 04:00 CEST", "Mon 01:00 CEST"]);
    assert_eq!(spring("\"02:30-04:00\""), ["Sun 03:00 CEST", "Sun 04:00 CEST", "Mon 02:30 CEST"], "begins in the gap");
    assert_eq!(spring("\"01:00-02:30\""), ["Sun 01:00 CET", "Sun 03:00 CEST", "Mon 01:00 CEST"], "ends in the gap");
    assert_eq!(spring("\"02:10-02:50\""), ["Mon 02:10 CEST", "Mon 02:50 CEST", "Tue 02:10 CEST"], "all in the gap");
    let autumn = |value| changes(value, "2024-10-26T21:30:00Z", 4);
    assert_eq!(autumn("\"01:00-04:00\"")[..2], ["Sun 01:00 CEST", "Sun 04:00 CET"], "an hour longer");
    assert_eq!(
        autumn("\"02:30-02:45\""),
        ["Sun 02:30 CEST", "Sun 02:45 CEST", "Sun 02:30 CET", "Sun 02:45 CET"],
        "what comes twice counts twice"
    );
}

/// Minute by minute over two weeks: it changes exactly when it says.
#[test]
fn what_is_foretold_is_what_comes() {
    let zone = berlin();
    for value in ["\"22:00-06:00\"", "[\"sun 02:30-03:15\", \"mon-fri 23:00-02:30\"]", "\"sat\""] {
        for start in ["2024-03-24T12:00:00Z", "2024-10-20T12:00:00Z"] {
            let (window, mut now) = (window(value), at(start));
            let mut was_open = window.is_open(now, &zone);
            let foretell = |now, is_open| if is_open { window.closes(now, &zone) } else { window.opens(now, &zone) };
            let mut foretold = foretell(now, was_open);
            for _ in 0..14 * 24 * 60 {
                now = now.checked_add(SignedDuration::from_mins(1)).unwrap();
                let is_open = window.is_open(now, &zone);
                assert_eq!(is_open != was_open, foretold == Some(now), "{value} at {now}");
                if is_open != was_open {
                    (was_open, foretold) = (is_open, foretell(now, is_open));
                }
            }
        }
    }
}

#[test]
fn it_knows_how_long_it_stays_closed() {
    let hours = |value| window(value).closed_for().as_secs() / 3600;
    assert_eq!(hours("\"22:00-06:00\""), 16);
    assert_eq!(hours("\"sun 02:00-06:00\""), 7 * 24 - 4);
    assert_eq!(hours("[\"mon-fri 22:00-06:00\", \"sat,sun\"]"), 22, "from Monday 00:00 to 22:00");
    assert_eq!(hours("\"mon-sun\""), 0);
}

#[test]
fn no_time_is_too_far_away_for_it() {
    let window = window("\"22:00-06:00\"");
    for time in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
        for zone in [berlin(), TimeZone::UTC] {
            let _ = (window.is_open(time, &zone), window.opens(time, &zone), window.closes(time, &zone));
        }
    }
    assert_eq!(window.opens(Timestamp::MAX, &TimeZone::UTC), None);
}
