//! Where the person called may be, and what their clocks say.
//!
//! [`Zones::of`] names every plausible zone of a number: the window must be open in all of them.
//! [`ZoneTimes`] is what one zone's clocks do around one instant, read once from the bundled time-zone
//! database; from there on everything is arithmetic, and the receipt can be replayed without the database.
//! The zone of the machine we run on is never looked at.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use super::facts::words;
use super::window::Local;
use crate::phone::PhoneNumber;

words! {
    /// Where the candidate zones came from.
    ZoneSource {
        /// The region of the number has one zone by law.
        Statute = "statute",
        /// The region of the number, as its numbering plan has it: every zone of it.
        Region = "region",
        /// The country calling code alone: every zone of every region that shares it.
        CallingCode = "calling_code",
        /// Somebody with the right to do so put it on record for this contact point.
        Recorded = "recorded",
        /// Nothing says where the number rings.
        Nowhere = "nowhere",
    }
}

/// Regions whose people all live by one clock although the database lists more than one zone for them.
/// China: State Council order of 1949, one standard time; `Asia/Urumqi` is customary, not legal.
const STATUTE: &[(&str, &str)] = &[("CN", "Asia/Shanghai")];

/// The zones a person called may be in, and where that is known from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zones {
    /// IANA names; empty if nothing is known, which refuses the call.
    pub names: Vec<String>,
    /// Where they came from.
    pub source: ZoneSource,
}

impl Zones {
    /// Every plausible zone of a number.
    #[must_use]
    pub fn of(number: &PhoneNumber) -> Self {
        if let Some(region) = number.region() {
            return Self::of_region(region);
        }
        let regions = phonenumber::metadata::DATABASE
            .region(&number.country_code())
            .unwrap_or_default();
        let names: Vec<String> = regions
            .into_iter()
            .flat_map(|region| Self::of_region(region).names)
            .collect();
        if names.is_empty() {
            return Self {
                names,
                source: ZoneSource::Nowhere,
            };
        }
        Self {
            names,
            source: ZoneSource::CallingCode,
        }
    }

    fn of_region(region: &str) -> Self {
        if let Some((_, zone)) = STATUTE.iter().find(|(statute, _)| *statute == region) {
            return Self {
                names: vec![(*zone).to_owned()],
                source: ZoneSource::Statute,
            };
        }
        match zones_by_region().get(region) {
            Some(names) => Self {
                names: names.clone(),
                source: ZoneSource::Region,
            },
            None => Self {
                names: Vec::new(),
                source: ZoneSource::Nowhere,
            },
        }
    }

    /// The one zone that was put on record for a contact point.
    #[must_use]
    pub fn recorded(zone: &str) -> Self {
        Self {
            names: vec![zone.to_owned()],
            source: ZoneSource::Recorded,
        }
    }

    /// The zone of a name that shall be put on record: one that a place has now, in the form of the database. Where a region
    /// has one zone by law, no other one of it: that would move the hours.
    ///
    /// # Errors
    /// What to write instead.
    pub fn on_record(text: &str) -> Result<String, String> {
        let text = text.trim();
        let found = zones_by_region().iter().find_map(|(region, names)| {
            let name = names.iter().find(|name| name.eq_ignore_ascii_case(text))?;
            Some((region, name))
        });
        let Some((region, name)) = found else {
            return Err(
                "zone: none that a place has now; write its IANA name, such as Asia/Shanghai or America/New_York"
                    .into(),
            );
        };
        match STATUTE.iter().find(|(statute, _)| statute == region) {
            Some((_, zone)) if zone != name => {
                Err(format!("zone: by law the time there is that of {zone}"))
            }
            _ => Ok(name.clone()),
        }
    }

    /// What the clocks of all these zones do around an instant, or the first name that is no zone.
    pub(super) fn times(&self, at_ms: i64) -> Result<Vec<ZoneTimes>, String> {
        self.names
            .iter()
            .map(|name| ZoneTimes::around(name, at_ms).ok_or_else(|| name.clone()))
            .collect()
    }
}

/// The bundled database: the same build decides the same on every machine.
fn database() -> &'static TimeZoneDatabase {
    static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    DATABASE.get_or_init(TimeZoneDatabase::bundled)
}

/// The named zones of each ISO 3166 region, as the database places them.
fn zones_by_region() -> &'static BTreeMap<String, Vec<String>> {
    static ZONES: OnceLock<BTreeMap<String, Vec<String>>> = OnceLock::new();
    ZONES.get_or_init(|| {
        let mut regions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in database().available() {
            let Ok(zone) = database().get(name.as_str()) else {
                continue;
            };
            if let (true, Some(place)) = (zone.is_primary(), zone.location()) {
                let region = regions.entry(place.country().to_owned()).or_default();
                region.push(name.as_str().to_owned());
            }
        }
        regions
    })
}

/// How far around an instant [`ZoneTimes`] reaches: longer than any local day.
const REACH_MS: i64 = 30 * 3_600_000;

/// What one zone's clocks do around one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneTimes {
    /// IANA name.
    pub zone: String,
    /// From when (milliseconds UTC) which offset (seconds east of UTC) is in force; the first entry is where
    /// this stretch begins. Never empty.
    pub offsets: Vec<(i64, i32)>,
    /// Where it ends, milliseconds UTC, exclusive.
    pub until_ms: i64,
}

impl ZoneTimes {
    /// Reads the database around an instant; `None` if there is no such zone or the instant is beyond the calendar.
    #[must_use]
    pub fn around(name: &str, at_ms: i64) -> Option<Self> {
        let zone = database().get(name).ok()?;
        Self::of(&zone, name, at_ms)
    }

    fn of(zone: &TimeZone, name: &str, at_ms: i64) -> Option<Self> {
        let from_ms = at_ms.checked_sub(REACH_MS)?;
        let until_ms = at_ms.checked_add(REACH_MS)?;
        let from = Timestamp::from_millisecond(from_ms).ok()?;
        Timestamp::from_millisecond(until_ms).ok()?;
        let mut offsets = vec![(from_ms, zone.to_offset(from).seconds())];
        for change in zone.following(from) {
            let at_ms = change.timestamp().as_millisecond();
            if at_ms >= until_ms {
                break;
            }
            offsets.push((at_ms, change.offset().seconds()));
        }
        Some(Self {
            zone: name.to_owned(),
            offsets,
            until_ms,
        })
    }

    /// Whether the offsets are in order and there is one: what was read from a receipt may be anything.
    pub(super) fn is_sound(&self) -> bool {
        let ordered = self.offsets.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let bounded =
            |(at, offset): &(i64, i32)| at.unsigned_abs() < 1 << 52 && offset.abs() < 100_000;
        ordered
            && self.offsets.iter().all(bounded)
            && self
                .offsets
                .last()
                .is_some_and(|(at, _)| *at < self.until_ms)
            && self.until_ms < 1 << 52
    }

    /// Whether an instant lies within this stretch.
    pub(super) fn covers(&self, at_ms: i64) -> bool {
        self.offsets.first().is_some_and(|(from, _)| *from <= at_ms) && at_ms < self.until_ms
    }

    /// The local time at an instant.
    pub(super) fn local(&self, at_ms: i64) -> Local {
        let next = self.offsets.partition_point(|(from, _)| *from <= at_ms);
        let offset_s = self
            .offsets
            .get(next.saturating_sub(1))
            .map_or(0, |(_, offset)| *offset);
        let ends_ms = self
            .offsets
            .get(next)
            .map_or(self.until_ms, |(from, _)| *from);
        Local::new(at_ms, offset_s, ends_ms)
    }

    /// The first instant that bears the local date of `at_ms`.
    pub(super) fn day_began_ms(&self, at_ms: i64) -> i64 {
        let today = self.local(at_ms).date;
        for (index, (from_ms, offset_s)) in self.offsets.iter().enumerate() {
            let ends_ms = self
                .offsets
                .get(index + 1)
                .map_or(self.until_ms, |(at, _)| *at);
            let first = Local::new(*from_ms, *offset_s, ends_ms);
            if first.date == today {
                return *from_ms;
            }
            // Midnights within this offset, at most three: the stretch is 60 hours.
            let mut midnight_ms = from_ms + (86_400_000 - first.of_day_ms);
            while midnight_ms < ends_ms && midnight_ms <= at_ms {
                if Local::new(midnight_ms, *offset_s, ends_ms).date == today {
                    return midnight_ms;
                }
                midnight_ms += 86_400_000;
            }
        }
        at_ms
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_zone_on_record_is_one_that_a_place_has_and_none_that_law_has_done_away_with() {
        assert_eq!(
            Zones::on_record(" america/new_york ").unwrap(),
            "America/New_York"
        );
        assert_eq!(Zones::on_record("Asia/Shanghai").unwrap(), "Asia/Shanghai");
        let law = Zones::on_record("Asia/Urumqi").unwrap_err();
        assert!(law.contains("Asia/Shanghai"), "{law}");
        for none in [
            "",
            "Mars/Olympus",
            "UTC",
            "Etc/GMT+8",
            "EST",
            "+08:00",
            "Asia",
        ] {
            assert!(
                Zones::on_record(none).unwrap_err().contains("IANA name"),
                "{none}"
            );
        }
        // Whatever may be put on record, decisions know.
        for name in zones_by_region().values().flatten() {
            assert!(
                ZoneTimes::around(name, 1_795_399_200_000).is_some(),
                "{name}"
            );
        }
    }
}
