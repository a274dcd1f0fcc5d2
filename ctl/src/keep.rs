//! Rules of what is kept, as they are typed.

use backup_proto::target::Keep;
use clap::Args;

/// What is kept: each option as restic has it. A snapshot stays if any of them asks for it.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is kept")]
pub(crate) struct KeepArguments {
    /// Keep the newest N snapshots.
    #[arg(long, short = 'l', value_name = "N", value_parser = count)]
    keep_last: Option<u32>,
    /// Keep the newest of each of the last N hours that have one; `unlimited` keeps them all.
    #[arg(long, short = 'H', value_name = "N", value_parser = count)]
    keep_hourly: Option<u32>,
    /// The same of days.
    #[arg(long, short = 'd', value_name = "N", value_parser = count)]
    keep_daily: Option<u32>,
    /// The same of weeks, from Monday on.
    #[arg(long, short = 'w', value_name = "N", value_parser = count)]
    keep_weekly: Option<u32>,
    /// The same of months.
    #[arg(long, short = 'm', value_name = "N", value_parser = count)]
    keep_monthly: Option<u32>,
    /// The same of years.
    #[arg(long, short = 'y', value_name = "N", value_parser = count)]
    keep_yearly: Option<u32>,
    /// Keep all that are younger than AGE, such as 30d or 1y6m, seen from the newest.
    #[arg(long, value_name = "AGE")]
    keep_within: Option<String>,
    /// Keep the newest of each hour among those that are younger than AGE.
    #[arg(long, value_name = "AGE")]
    keep_within_hourly: Option<String>,
    /// The same of days.
    #[arg(long, value_name = "AGE")]
    keep_within_daily: Option<String>,
    /// The same of weeks.
    #[arg(long, value_name = "AGE")]
    keep_within_weekly: Option<String>,
    /// The same of months.
    #[arg(long, value_name = "AGE")]
    keep_within_monthly: Option<String>,
    /// The same of years.
    #[arg(long, value_name = "AGE")]
    keep_within_yearly: Option<String>,
    /// Keep all that have each of these tags; may be repeated.
    #[arg(long, value_name = "TAG[,TAG…]")]
    keep_tag: Vec<String>,
}

impl KeepArguments {
    /// Returns the rule; none when nothing was said.
    pub(crate) fn keep(&self) -> Option<Keep> {
        let keep = Keep {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within.clone(),
            within_hourly: self.keep_within_hourly.clone(),
            within_daily: self.keep_within_daily.clone(),
            within_weekly: self.keep_within_weekly.clone(),
            within_monthly: self.keep_within_monthly.clone(),
            within_yearly: self.keep_within_yearly.clone(),
            tags: self.keep_tag.clone(),
        };
        (keep != Keep::default()).then_some(keep)
    }
}

fn count(text: &str) -> Result<u32, String> {
    match text.trim() {
        "unlimited" => Ok(u32::MAX),
        number => number.parse().map_err(|_| format!("`{text}` is not a number")),
    }
}

/// Reads a rule in one word, such as `last=5,daily=7,within=30d`.
pub(crate) fn keep(text: &str) -> Result<Keep, String> {
    let mut keep = Keep::default();
    for part in text.split(',') {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not like last=5"))?;
        let (name, value) = (name.trim(), value.trim());
        let age = match name {
            "within" => Some(&mut keep.within),
            "within-hourly" => Some(&mut keep.within_hourly),
            "within-daily" => Some(&mut keep.within_daily),
            "within-weekly" => Some(&mut keep.within_weekly),
            "within-monthly" => Some(&mut keep.within_monthly),
            "within-yearly" => Some(&mut keep.within_yearly),
            _ => None,
        };
        if let Some(age) = age {
            *age = Some(value.to_owned());
            continue;
        }
        let place = match name {
            "last" => &mut keep.last,
            "hourly" => &mut keep.hourly,
            "daily" => &mut keep.daily,
            "weekly" => &mut keep.weekly,
            "monthly" => &mut keep.monthly,
            "yearly" => &mut keep.yearly,
            "tag" => {
                keep.tags.push(value.to_owned());
                continue;
            }
            other => {
                return Err(format!(
                    "`{other}` is none of last, hourly, daily, weekly, monthly, yearly, within, within-hourly (and so \
                     on) and tag"
                ));
            }
        };
        *place = Some(count(value)?);
    }
    Ok(keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_rules_are_read_and_mistakes_named() {
        let rule = keep("last=5, daily=unlimited,within=30d,within-weekly=1y,tag=a").unwrap();
        assert_eq!((rule.last, rule.daily, rule.weekly), (Some(5), Some(u32::MAX), None));
        assert_eq!((rule.within.as_deref(), rule.within_weekly.as_deref()), (Some("30d"), Some("1y")));
        assert_eq!(rule.tags, ["a"]);
        assert!(keep("last").unwrap_err().contains("last=5"));
        assert!(keep("last=x").unwrap_err().contains("`x`"));
        assert!(keep("often=1").unwrap_err().contains("often"));
    }
}
