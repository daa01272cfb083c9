//! The Date field: IMF-fixdate (RFC 9110, section 5.6.7), kept for a second.

const SECONDS_PER_DAY: u64 = 86_400;

/// 9999-12-31T23:59:59Z, the last second that four digits of a year can tell.
const LAST_SECOND: u64 = 253_402_300_799;

const DAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The current date as text, formatted anew only when the second changes.
#[derive(Clone, Debug)]
pub struct DateCache {
    second: u64,
    text: [u8; 29],
}

impl DateCache {
    /// A cache that holds the epoch.
    pub fn new() -> DateCache {
        DateCache { second: 0, text: format(0) }
    }

    /// The date of a second since the UNIX epoch, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
    /// Beyond the year 9999 it stays at its last second.
    #[inline]
    pub fn at(&mut self, unix_seconds: u64) -> &[u8; 29] {
        if self.second != unix_seconds {
            self.text = format(unix_seconds);
            self.second = unix_seconds;
        }
        &self.text
    }
}

impl Default for DateCache {
    fn default() -> DateCache {
        DateCache::new()
    }
}

fn format(unix_seconds: u64) -> [u8; 29] {
    let seconds = unix_seconds.min(LAST_SECOND);
    let days = seconds / SECONDS_PER_DAY;
    let (year, month, day) = civil(days);
    let second_of_day = seconds % SECONDS_PER_DAY;

    let mut text = *b"ddd, 00 mmm 0000 00:00:00 GMT";
    // The epoch was a Thursday.
    text[..3].copy_from_slice(DAYS[((days + 3) % 7) as usize]);
    text[8..11].copy_from_slice(MONTHS[month as usize - 1]);
    for (at, number) in [
        (5, day),
        (12, year / 100),
        (14, year % 100),
        (17, second_of_day / 3600),
        (20, second_of_day / 60 % 60),
        (23, second_of_day % 60),
    ] {
        text[at] = b'0' + (number / 10) as u8;
        text[at + 1] = b'0' + (number % 10) as u8;
    }
    text
}

/// Year, month (1 to 12) and day (1 to 31) of a day since the epoch in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year, within eras of 400
/// years, which all have the same number of days.
fn civil(days_since_epoch: u64) -> (u64, u64, u64) {
    const DAYS_TO_EPOCH: u64 = 719_468; // from 0000-03-01 to 1970-01-01
    const DAYS_PER_ERA: u64 = 146_097;
    let days = days_since_epoch + DAYS_TO_EPOCH;
    let era = days / DAYS_PER_ERA;
    let day_of_era = days % DAYS_PER_ERA;
    // Leap days that fell before this day: one per 4 years, but 100 years, plus the era's last.
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, months of 31, 30, 31, 30, 31 days repeat: 153 days in 5 months.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next_year) =
        if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    (400 * era + year_of_era + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{DateCache, civil};

    #[test]
    fn formats_known_dates() {
        let cases: &[(u64, &[u8; 29])] = &[
            (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, b"Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, b"Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_078_012_799, b"Sat, 28 Feb 2004 23:59:59 GMT"),
            (1_709_164_800, b"Thu, 29 Feb 2024 00:00:00 GMT"),
            (4_107_542_400, b"Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, b"Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, b"Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        let mut cache = DateCache::new();
        for (second, expected) in cases {
            assert_eq!(cache.at(*second), *expected, "{second}");
            assert_eq!(cache.at(*second), *expected, "{second}, cached");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..400 * 366 {
            assert_eq!(civil(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                4 | 6 | 9 | 11 => 30,
                2 if leap => 29,
                2 => 28,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }
}
