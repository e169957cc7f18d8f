//! Amounts as Compose writes them: spans of time, bytes, CPUs, percent.
//!
//! Errors are sentences without the text at fault, since a variable may have
//! filled it in.

use std::time::Duration;

/// The longest span of time that means anything in a stack.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Parses `1h5m30s20ms`: Compose's durations, with `d` for days besides.
///
/// # Errors
///
/// Fails with a sentence on what is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err("a span of time cannot be negative".to_owned());
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0_u128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let nanos_in_unit: u64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "" => return Err("a span of time needs a unit".to_owned()),
            _ => return Err("not a span of time".to_owned()),
        };
        let amount = scaled(number, nanos_in_unit).ok_or("not a span of time")?;
        nanos = nanos.saturating_add(u128::from(amount));
        rest = tail;
    }
    if text.is_empty() {
        return Err("a span of time is missing".to_owned());
    }
    if nanos > LONGEST.as_nanos() {
        return Err("a span of time has at most 30 days".to_owned());
    }
    Ok(Duration::from_nanos(u64::try_from(nanos).expect("30 days of nanoseconds fit")))
}

/// Parses `512m`, `1.5gb` or a number of bytes. Units are powers of 1024, as
/// Docker has them.
pub(super) fn bytes(text: &str) -> Result<i64, String> {
    const EXAMPLE: &str = "not a size in bytes";
    if text.starts_with('-') {
        return Err("a size cannot be negative".to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit: u64 = match unit.trim_start() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(EXAMPLE.to_owned()),
    };
    let amount = scaled(number, unit).ok_or(EXAMPLE)?;
    i64::try_from(amount).map_err(|_| "a size that no host has".to_owned())
}

/// Parses `0.5` CPUs into thousandths.
pub(super) fn milli_cpus(text: &str) -> Result<u64, String> {
    match scaled(text, 1_000) {
        Some(0) => Err("a CPU limit is at least 0.001".to_owned()),
        Some(milli) if milli > 1_024_000 => Err("a CPU limit is at most 1024".to_owned()),
        Some(milli) => Ok(milli),
        None => Err("not a number of CPUs".to_owned()),
    }
}

/// Parses `10%` into 10.
pub(super) fn percent(text: &str) -> Result<u8, String> {
    text.strip_suffix('%')
        .and_then(|number| number.parse().ok())
        .filter(|percent| *percent < 100)
        .ok_or_else(|| "not a share from 0% to 99%".to_owned())
}

/// Returns a decimal number times `unit`, rounded down; None if it is not one
/// or too large. Integers only: no amount goes through a float.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return None;
    }
    // Nine digits after the point are more than any unit here can hold.
    let fraction = &fraction[..fraction.len().min(9)];
    let parsed = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
    let of_fraction = u128::from(parsed(fraction)?) * u128::from(unit)
        / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    parsed(whole)?.checked_mul(unit)?.checked_add(u64::try_from(of_fraction).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_composes() {
        let written = [
            ("0s", 0),
            ("0", 0),
            ("20ms", 20),
            ("1.5s", 1_500),
            ("1m30s", 90_000),
            ("1h5m30s20ms", 3_930_020),
            ("30d", 2_592_000_000),
        ];
        for (text, millis) in written {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_duration_without_a_unit_or_beyond_reason_is_refused() {
        for text in
            ["", "5", "-1s", "1x", "s", "1s2", "1..5s", "31d", "99999999999999999999h", "1 s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_dockers() {
        let written = [
            ("64", 64),
            ("64b", 64),
            ("2k", 2_048),
            ("512M", 536_870_912),
            ("1.5gb", 1_610_612_736),
        ];
        for (text, size) in written {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "-1", "m", "1x", "1e9", "99999999999g"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpus_keep_their_thousandths() {
        assert_eq!(milli_cpus("0.5"), Ok(500));
        assert_eq!(milli_cpus(".25"), Ok(250));
        assert_eq!(milli_cpus("2"), Ok(2_000));
        for text in ["", ".", "0", "0.0001", "-1", "two", "100000"] {
            assert!(milli_cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_has_its_sign() {
        assert_eq!(percent("10%"), Ok(10));
        for text in ["10", "100%", "-1%", "%", "1.5%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }
}
