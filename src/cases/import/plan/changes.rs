//! What a row changes in the case itself: each value by the rule of its column, with a line of history.

use std::collections::BTreeMap;

use super::{Days, card_of};
use crate::{
    cases::{
        bucket::Bucket,
        entry::{CaseEntry, silenced},
        identity::masked,
        money::{Currency, Money},
        template::{Amount, Rule, Template, To},
    },
    store::{case_bulk::KnownCase, case_changes::Change},
};

/// The new value, if the rule lets it replace the known one.
fn ruled<T: PartialEq>(rule: Rule, known: Option<T>, said: Option<T>) -> Option<T> {
    let said = said?;
    let replaces = match rule {
        Rule::Overwrite => known.as_ref() != Some(&said),
        Rule::Keep => false,
        Rule::OnlyIfEmpty | Rule::Add => known.is_none(),
    };
    replaces.then_some(said)
}

fn full(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Everything of the case itself.
pub(super) fn scalars(
    template: &Template,
    said: &CaseEntry,
    known: &KnownCase,
    days: &Days,
    change: &mut Change,
) {
    let rule = |to: &To| {
        let column = template.columns.iter().find(|(other, _)| other == to);
        column.map_or(Rule::Keep, |(_, column)| column.rule)
    };
    let currency = Currency::parse(&known.currency).unwrap_or(Currency::CNY);
    let money = |e4| serde_json::json!(Money { e4, currency }.to_string());
    for (index, amount) in Amount::ALL.into_iter().enumerate() {
        if amount == Amount::Balance {
            continue;
        }
        let was = known.amounts.get(index).copied().unwrap_or(0);
        let new = said.amounts.get(index).copied().flatten();
        // Nothing and not known are not told apart; an amount that overwrites nothing with nothing changes nothing.
        let new = match rule(&To::Amount(amount)) {
            Rule::Overwrite => new,
            rule => ruled(rule, Some(was).filter(|was| *was != 0), new),
        };
        let new = new.filter(|new| *new != was);
        if let (Some(new), Some(slot)) = (new, change.amounts.get_mut(index)) {
            *slot = Some(new);
            change.before.insert(amount.as_str().into(), money(was));
            change.after.insert(amount.as_str().into(), money(new));
        }
    }
    balance(
        rule(&To::Amount(Amount::Balance)),
        said,
        known,
        days,
        change,
    );
    let overdue = ruled(
        rule(&To::OverdueDays),
        known.overdue_days,
        said.overdue_days,
    );
    if let Some(overdue) = overdue {
        change.overdue_days = Some(overdue);
        change.bucket = Some(Bucket::of(Some(overdue)).as_str().to_owned());
        change
            .before
            .insert("overdue_days".into(), serde_json::json!(known.overdue_days));
        change
            .after
            .insert("overdue_days".into(), serde_json::json!(overdue));
    }
    if let Some(region) = ruled(rule(&To::Region), full(&known.region), said.region.clone()) {
        change
            .before
            .insert("region".into(), serde_json::json!(known.region));
        change
            .after
            .insert("region".into(), serde_json::json!(region));
        change.region = Some(region);
    }
    if let Some(name) = ruled(rule(&To::Name), full(&known.debtor.name), said.name.clone()) {
        change
            .after
            .insert("name".into(), serde_json::json!("changed"));
        change.debtor = Some(known.debtor.id.get());
        change.name = Some(name);
    }
    if let (Some(sealed), None) = (&said.identity, &known.debtor.identity_hash) {
        change
            .after
            .insert("identity".into(), serde_json::json!("learned"));
        change.debtor = Some(known.debtor.id.get());
        change.identity = Some((sealed.hash.clone(), sealed.boxed.clone()));
    }
    let card = said.card.as_ref().map(|card| card.sealed.hash.clone());
    if ruled(rule(&To::Card), known.card_hash.clone(), card).is_some() {
        change.card = card_of(said);
        let last4 = said.card.as_ref().map(|card| masked(&card.last4));
        change.after.insert("card".into(), serde_json::json!(last4));
    }
    fields(template, said, known, change);
}

/// What is owed, on the day for which it is told: payments made after that day are taken off when it is carried out. A
/// balance of an earlier day than the one on file is no news; the same one of a later day changes only the day.
fn balance(rule: Rule, said: &CaseEntry, known: &KnownCase, days: &Days, change: &mut Change) {
    let index = Amount::Balance as usize;
    let net = known.amounts.get(index).copied().unwrap_or(0);
    let told_before = net.saturating_add(known.repaid_since_e4);
    let new = said.amounts.get(index).copied().flatten();
    let new = match rule {
        Rule::Overwrite => new,
        rule => ruled(rule, Some(told_before).filter(|was| *was != 0), new),
    };
    let on = days.of_balance(said);
    let newer = known.balance_on.as_ref().is_none_or(|known| *known <= on);
    change.older_balance = !newer && new.is_some_and(|new| new != net);
    let (Some(new), true) = (new, newer) else {
        return;
    };
    // Of a case whose balance nobody told it is news that nothing is owed.
    let silences = silenced(known.state, Some(new)) != known.state;
    let changes = new != told_before || silences;
    if !changes && known.balance_on.as_ref() == Some(&on) {
        return;
    }
    if changes {
        let currency = Currency::parse(&known.currency).unwrap_or(Currency::CNY);
        let money = |e4| serde_json::json!(Money { e4, currency }.to_string());
        let word = Amount::Balance.as_str();
        change.before.insert(word.into(), money(net));
        change.after.insert(word.into(), money(new));
        if days.is_told(said) {
            change
                .before
                .insert("balance_on".into(), serde_json::json!(known.balance_on));
            change
                .after
                .insert("balance_on".into(), serde_json::json!(on));
        }
    }
    if let Some(slot) = change.amounts.get_mut(index) {
        *slot = Some(new);
        change.balance_on = Some(on);
    }
}

fn fields(template: &Template, said: &CaseEntry, known: &KnownCase, change: &mut Change) {
    let mut all: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&known.fields).unwrap_or_default();
    let mut changed = Vec::new();
    for (to, column) in &template.columns {
        let To::Field(name, _) = to else { continue };
        let Some(value) = said.fields.get(name) else {
            continue;
        };
        let was = all.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        let new = match (column.rule, &was) {
            // Line by line, each once.
            (Rule::Add, Some(was)) => {
                let there = was.lines().any(|line| line == value);
                (!there).then(|| format!("{was}\n{value}"))
            }
            (rule, _) => ruled(rule, was, Some(value.clone())),
        };
        if let Some(new) = new {
            all.insert(name.clone(), new.into());
            changed.push(name.as_str());
        }
    }
    if !changed.is_empty() {
        change
            .after
            .insert("fields".into(), serde_json::json!(changed));
        change.fields = Some(serde_json::json!(all).to_string());
    }
}
