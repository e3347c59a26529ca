//! Owns the identity of a time zone's rules: the database of zones changes from version to version, and with a zone's rules
//! the directories of its times. Does not own their formatting.

use chrono::{DateTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;

const DAY_S: i64 = 86_400;
/// 1900-01-01 to 2100-01-01, days from the epoch. The database has no rules of its own for times outside.
const DAYS: std::ops::Range<i64> = -25_567..47_482;

/// A hash of all offsets of a zone from UTC and when each begins. The same in every version of the database in which the
/// rules of this zone are the same.
pub(super) fn rules_hash(zone: Tz) -> u64 {
    let mut rules = Vec::new();
    let mut offset_s = offset_of(zone, DAYS.start * DAY_S);
    rules.extend(offset_s.to_le_bytes());
    for day in DAYS {
        let next_s = offset_of(zone, (day + 1) * DAY_S);
        if next_s != offset_s {
            let (mut before, mut after) = (day * DAY_S, (day + 1) * DAY_S);
            while after - before > 1 {
                let between = before.midpoint(after);
                if offset_of(zone, between) == offset_s { before = between } else { after = between }
            }
            rules.extend(after.to_le_bytes());
            rules.extend(next_s.to_le_bytes());
            offset_s = next_s;
        }
    }
    xxhash_rust::xxh3::xxh3_64(&rules)
}

fn offset_of(zone: Tz, second: i64) -> i32 {
    let utc = DateTime::from_timestamp(second, 0).unwrap_or_default();
    zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_with_the_same_rules_have_the_same_hash_and_others_have_not() {
        use chrono_tz::{Africa, America, Asia, Etc, Europe, US};
        assert_eq!(rules_hash(America::New_York), rules_hash(US::Eastern));
        let zones = [
            Europe::Berlin,
            Europe::Paris,
            America::New_York,
            Africa::Casablanca,
            Asia::Kolkata,
            Etc::GMTPlus5,
            Tz::UTC,
        ];
        let mut hashes: Vec<u64> = zones.into_iter().map(rules_hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), zones.len());
    }

    #[test]
    fn the_moment_at_which_an_offset_changes_is_found_to_the_second() {
        let changes_s = 1_616_893_200;
        let around = [changes_s - 1, changes_s].map(|second| offset_of(chrono_tz::Europe::Berlin, second));
        assert_eq!(around, [3_600, 7_200], "2021-03-28 01:00 UTC");
    }
}
