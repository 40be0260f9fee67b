//! Amounts of money: exact, with their currency, never a floating-point number.
//!
//! An amount is a whole number of ten-thousandths (`e4`), the finest unit that a currency or an interest statement of
//! the clients has. What a person or a file wrote is read here, and refused where it could mean two things.

use std::fmt;

use rust_decimal::Decimal;

/// The greatest amount of one cell: a trillion units, so that sums of millions of cases stay far from the end of `i64`.
pub const MOST_E4: i64 = 1_000_000_000_000 * 10_000;

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Renminbi, the default of this product.
    pub const CNY: Currency = Currency(*b"CNY");

    /// Parses three capital letters.
    ///
    /// # Errors
    /// [`MoneyError::Currency`] for anything else. Codes are not compared with a list: clients know theirs.
    pub fn parse(text: &str) -> Result<Currency, MoneyError> {
        match text.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|l| l.is_ascii_uppercase()) => {
                Ok(Currency([*a, *b, *c]))
            }
            _ => Err(MoneyError::Currency),
        }
    }

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Currency({self})")
    }
}

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// There is nothing, or letters and signs that no amount has.
    #[error(
        "not an amount of money: write digits with a point before the cents, such as 1234.56 or 1,234.56"
    )]
    Malformed,
    /// A comma that could separate thousands or cents.
    #[error("a comma here could mean thousands or cents: write 1234.56 or 1,234.56")]
    Ambiguous,
    /// Written like `1.2E+6`.
    #[error(
        "written in powers of ten, which spreadsheets do to numbers they have rounded: write it out in digits"
    )]
    Exponent,
    /// Finer than a ten-thousandth.
    #[error("finer than a ten-thousandth: at most four digits after the point")]
    TooFine,
    /// Beyond what one amount may be.
    #[error("beyond a trillion")]
    TooLarge,
    /// Not three capital letters.
    #[error("not a currency: write its three letters of ISO 4217, such as CNY")]
    Currency,
    /// The sign before the amount is of another currency.
    #[error("the sign of another currency than the column's")]
    OtherCurrency,
}

/// An amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// Ten-thousandths of the currency's unit.
    pub e4: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// Reads what a person or a file wrote: `1234.5`, `1,234.50`, `￥1,234.50`, `-80`, `(80)`, `CNY 12`, `12元`.
    ///
    /// # Errors
    /// See [`MoneyError`]; nothing that could be read in two ways is guessed.
    pub fn parse(text: &str, currency: Currency) -> Result<Money, MoneyError> {
        let (mut rest, mut negative) = (text.trim(), false);
        if let Some(inner) = rest.strip_prefix('(').and_then(|r| r.strip_suffix(')')) {
            // As accountants write what was taken back.
            (rest, negative) = (inner.trim(), true);
        }
        for _ in 0..2 {
            if let Some(after) = rest.strip_prefix(['-', '\u{2212}', '－']) {
                if negative {
                    return Err(MoneyError::Malformed);
                }
                (rest, negative) = (after.trim_start(), true);
            }
            rest = without_sign(rest, currency)?;
        }
        let e4 = digits(rest)?;
        Ok(Money {
            e4: if negative { -e4 } else { e4 },
            currency,
        })
    }
}

/// The text without the currency's sign or letters before or after it.
fn without_sign(text: &str, currency: Currency) -> Result<&str, MoneyError> {
    const SIGNS: [(&str, &[&str]); 8] = [
        ("￥", &["CNY", "JPY"]),
        ("¥", &["CNY", "JPY"]),
        ("元", &["CNY"]),
        ("HK$", &["HKD"]),
        ("US$", &["USD"]),
        ("$", &["USD", "HKD", "SGD", "AUD", "CAD", "TWD"]),
        ("€", &["EUR"]),
        ("£", &["GBP"]),
    ];
    let text = text.trim();
    for (sign, currencies) in SIGNS {
        if let Some(rest) = text.strip_prefix(sign).or_else(|| text.strip_suffix(sign)) {
            return if currencies.contains(&currency.as_str()) {
                Ok(rest.trim())
            } else {
                Err(MoneyError::OtherCurrency)
            };
        }
    }
    let code = |found: &str| match Currency::parse(found) {
        Ok(found) if found == currency => Ok(()),
        Ok(_) => Err(MoneyError::OtherCurrency),
        Err(_) => Err(MoneyError::Malformed),
    };
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let (found, rest) = text.split_at_checked(3).ok_or(MoneyError::Malformed)?;
        // A longer word is none of a currency: TRUE, N/A.
        if rest.starts_with(|c: char| c.is_alphabetic()) {
            return Err(MoneyError::Malformed);
        }
        code(found)?;
        return Ok(rest.trim());
    }
    if text.ends_with(|c: char| c.is_ascii_uppercase()) {
        let at = text.len().saturating_sub(3);
        let (rest, found) = text.split_at_checked(at).ok_or(MoneyError::Malformed)?;
        if rest.ends_with(|c: char| c.is_alphabetic()) {
            return Err(MoneyError::Malformed);
        }
        code(found)?;
        return Ok(rest.trim());
    }
    Ok(text)
}

/// Digits with an optional point and commas between thousands.
fn digits(text: &str) -> Result<i64, MoneyError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if text.contains(['e', 'E']) {
        return Err(MoneyError::Exponent);
    }
    if whole.is_empty() || text.ends_with('.') || !all_digits(fraction) {
        return Err(MoneyError::Malformed);
    }
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let grouped: Vec<&str> = groups.collect();
    if first.is_empty() || !all_digits(first) || !grouped.iter().all(|group| all_digits(group)) {
        return Err(MoneyError::Malformed);
    }
    if !grouped.is_empty() {
        if first.len() > 3 || grouped.iter().any(|group| group.len() != 3) {
            return Err(MoneyError::Ambiguous);
        }
        // 1,234 alone may be one and a quarter to whoever writes decimal commas; with cents it cannot.
        if grouped.len() == 1 && fraction.is_empty() {
            return Err(MoneyError::Ambiguous);
        }
    }
    if fraction.trim_end_matches('0').len() > 4 {
        return Err(MoneyError::TooFine);
    }
    let plain: String = whole.chars().filter(|c| *c != ',').collect();
    if plain.len() > 19 {
        return Err(MoneyError::TooLarge);
    }
    let fraction = fraction.get(..4).unwrap_or(fraction);
    let e4 = format!("{plain}{fraction:0<4}")
        .parse::<i64>()
        .map_err(|_| MoneyError::TooLarge)?;
    (e4 <= MOST_E4).then_some(e4).ok_or(MoneyError::TooLarge)
}

impl fmt::Display for Money {
    /// The digits with a point, at least two behind it, no separators, no currency: what [`Money::parse`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = Decimal::new(self.e4, 4).normalize();
        if shown.scale() < 2 {
            shown.rescale(2);
        }
        shown.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn cny(text: &str) -> Result<i64, MoneyError> {
        Money::parse(text, Currency::CNY).map(|money| money.e4)
    }

    #[test]
    fn an_amount_written_in_many_ways_is_one_amount() {
        for text in [
            "1234.5",
            "1,234.50",
            "￥1234.5",
            "¥ 1,234.5000",
            "CNY 1234.5",
            "1234.5CNY",
            "1234.5元",
            " 1234.50000 ",
        ] {
            assert_eq!(cny(text), Ok(12_345_000), "{text}");
        }
        for text in ["-80", "(80)", "-￥80", "￥-80.00", "－80"] {
            assert_eq!(cny(text), Ok(-800_000), "{text}");
        }
        assert_eq!(cny("1,234,567"), Ok(12_345_670_000));
        assert_eq!(cny("0.0001"), Ok(1));
        assert_eq!(cny("0"), Ok(0));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for (text, error) in [
            ("1,234", MoneyError::Ambiguous),
            ("12,34", MoneyError::Ambiguous),
            ("1234,56", MoneyError::Ambiguous),
            ("1,23,456.00", MoneyError::Ambiguous),
            ("1.234,56", MoneyError::Malformed),
            ("1.234.567", MoneyError::Malformed),
            ("1.2E+6", MoneyError::Exponent),
            ("0.00001", MoneyError::TooFine),
            ("", MoneyError::Malformed),
            (".5", MoneyError::Malformed),
            ("5.", MoneyError::Malformed),
            ("--5", MoneyError::Malformed),
            ("(-5)", MoneyError::Malformed),
            ("１２", MoneyError::Malformed),
            ("NaN", MoneyError::Malformed),
            ("TRUE", MoneyError::Malformed),
            ("5TRUE", MoneyError::Malformed),
            ("$5", MoneyError::OtherCurrency),
            ("USD 5", MoneyError::OtherCurrency),
            ("1000000000000.0001", MoneyError::TooLarge),
            ("99999999999999999999", MoneyError::TooLarge),
        ] {
            assert_eq!(cny(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(Currency::parse("CNY"), Ok(Currency::CNY));
        for text in ["cny", "", "CN", "CNYY", "C1Y", "人民币"] {
            assert_eq!(Currency::parse(text), Err(MoneyError::Currency), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(e4 in -MOST_E4..=MOST_E4) {
            let money = Money { e4, currency: Currency::CNY };
            prop_assert_eq!(cny(&money.to_string()), Ok(e4));
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,24}") {
            let _ = cny(&text);
        }
    }
}
