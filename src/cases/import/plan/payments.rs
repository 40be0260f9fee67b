//! What a row of a file of repayments enters: a payment once, of a case that is known.

use super::{Days, Plan, TO_COME, Table, faulty};
use crate::{
    cases::{
        entry::{Entry, PaymentEntry, What},
        template::{Template, To},
    },
    store::{case_bulk::KnownCase, case_changes::Change, repayments},
};

/// Plans one payment.
pub(super) fn payment(
    template: &Template,
    entry: &Entry,
    known: Option<&KnownCase>,
    table: &Table,
    days: &Days,
) -> Plan {
    let What::Payment(said) = &entry.what else {
        return Plan::Same;
    };
    let Some(known) = known.filter(|known| known.hidden_by.is_none()) else {
        return faulty(
            template,
            &To::Case,
            entry,
            "the client has no such case: correct its number",
        );
    };
    let PaymentEntry {
        reference,
        e4,
        currency,
        paid_on,
        settles,
    } = said;
    if days.comes(paid_on) {
        return faulty(template, &To::PaidOn, entry, TO_COME);
    }
    if let Some(before) = table.payments.get(reference) {
        let same = before.case == known.id
            && before.amount_e4 == *e4
            && before.currency == currency.as_str()
            && before.paid_on == *paid_on;
        return match same {
            true => Plan::Same,
            false => faulty(
                template,
                &To::Payment,
                entry,
                "a payment of this number is on file with another case, amount, currency or day: give it a number of its own",
            ),
        };
    }
    if currency.as_str() != known.currency {
        return faulty(
            template,
            &To::Currency,
            entry,
            format!(
                "the case is kept in {}: a payment in another currency cannot be taken off",
                known.currency
            ),
        );
    }
    if !entry.first {
        return Plan::Same;
    }
    let change = Change {
        case: known.id.get(),
        payment: Some(repayments::NewRepayment {
            reference: reference.clone(),
            amount_e4: *e4,
            currency: currency.to_string(),
            paid_on: paid_on.clone(),
            settles: *settles,
        }),
        ..Change::default()
    };
    Plan::Change {
        line: entry.line,
        change: Box::new(change),
        adds: true,
    }
}
