//! A row as a preview shows it.

use crate::cases::{
    entry::{Entry, What},
    identity::masked,
    money::{Currency, Money},
    template::Amount,
};

/// Enough to see that the columns are right, not enough to know anybody.
pub(in crate::cases::import) fn shown(entry: &Entry) -> String {
    let mut text = format!("line {}: case {}", entry.line, entry.case);
    match &entry.what {
        What::Payment(payment) => {
            let money = Money {
                e4: payment.e4,
                currency: payment.currency,
            };
            text.push_str(&format!(
                ", {money} {} on {}",
                payment.currency, payment.paid_on
            ));
            if payment.settles {
                text.push_str(", settled with it");
            }
        }
        What::Case(case) => {
            if let Some(name) = &case.name {
                text.push_str(&format!(", {}", first_letter(name)));
            }
            if case.identity.is_some() {
                text.push_str(", identity number");
            }
            if let Some(card) = &case.card {
                text.push_str(&format!(", card {}", masked(&card.last4)));
            }
            let currency = case.currency.unwrap_or(Currency::CNY);
            for (amount, e4) in Amount::ALL.into_iter().zip(case.amounts) {
                if let Some(e4) = e4 {
                    let money = Money { e4, currency };
                    text.push_str(&format!(", {} {money} {currency}", amount.as_str()));
                }
            }
            if let Some(day) = &case.balance_on {
                text.push_str(&format!(", as of {day}"));
            }
            if let Some(days) = case.overdue_days {
                text.push_str(&format!(", {days} days overdue"));
            }
            for name in case.fields.keys() {
                text.push_str(&format!(", {name}"));
            }
            for person in &case.people {
                text.push_str(&format!(
                    "; {} {}",
                    person.relation.as_str(),
                    first_letter(&person.name)
                ));
                for number in &person.numbers {
                    text.push_str(&format!(" {number}"));
                }
                if !person.addresses.is_empty() {
                    text.push_str(&format!(" {} addresses", person.addresses.len()));
                }
            }
        }
    }
    text
}

fn first_letter(name: &str) -> String {
    name.chars()
        .next()
        .map(|c| format!("{c}*"))
        .unwrap_or_default()
}
