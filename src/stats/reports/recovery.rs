//! Recovery by contract and overdue bucket (C16): what was placed, what came back within the three months of a cycle,
//! where that stands against the contract's base and minimum rates, and the fee.
//!
//! Money is whole ten-thousandths; rates are compared by multiplying out, and a fee is rounded once, at the end.

use std::collections::HashMap;

use super::{Body, Within, heads, share};
use crate::{
    cases::bucket::Bucket,
    export::Cell,
    store::{
        Result, Tx, clients,
        contracts::{self, Tier},
        recovery::{self, Placed, Placements},
        sql::filled,
    },
};

/// Where a rate stands against the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// At least the base rate.
    Full,
    /// At least the minimum rate.
    Reduced,
    /// Below the minimum rate, and the cycle still runs.
    Running,
    /// Below the minimum rate when the cycle is over.
    None,
}

impl Standing {
    const fn as_str(self) -> &'static str {
        match self {
            Standing::Full => "full",
            Standing::Reduced => "reduced",
            Standing::Running => "running",
            Standing::None => "none",
        }
    }

    /// `None` where nothing was placed to measure by.
    fn of(placed: &Placed, tier: &Tier) -> Option<Standing> {
        let notified = notified_e4(placed);
        if notified <= 0 {
            return None;
        }
        let reaches = |rate_bp: i64| {
            i128::from(placed.repaid_e4) * 10_000 >= i128::from(notified) * i128::from(rate_bp)
        };
        Some(if reaches(tier.base_bp) {
            Standing::Full
        } else if reaches(tier.minimum_bp) {
            Standing::Reduced
        } else if placed.running > 0 {
            Standing::Running
        } else {
            Standing::None
        })
    }

    /// The fee in ten-thousandths; `None` if it is open, or the contract does not say.
    fn fee_e4(self, placed: &Placed, tier: &Tier) -> Option<i64> {
        let rate_bp = match self {
            Standing::Full => tier.fee_bp,
            Standing::Reduced => tier.reduced_bp?,
            Standing::Running => return None,
            Standing::None => return Some(0),
        };
        let exact = i128::from(placed.repaid_e4) * i128::from(rate_bp);
        i64::try_from((exact + 5_000) / 10_000).ok()
    }
}

/// What the rate is measured by.
fn notified_e4(placed: &Placed) -> i64 {
    placed.placed_e4 - placed.deducted_e4
}

pub(super) async fn read(tx: &mut Tx, within: &Within<'_>) -> Result<Body> {
    let placements = Placements {
        from: within.from_text.to_owned(),
        to: within.to_text.to_owned(),
        today: within.today.to_string(),
        client: within.client,
    };
    let clients = clients::list(tx).await?;
    let clients: HashMap<i64, String> = clients.into_iter().map(|c| (c.id.get(), c.code)).collect();
    let contracts = contracts::list(tx).await?;
    let contracts: HashMap<i64, _> = contracts.into_iter().map(|c| (c.id, c)).collect();
    let mut lines = Vec::new();
    for placed in recovery::placed(tx, &placements).await? {
        let client = clients.get(&placed.client).cloned().unwrap_or_default();
        let contract = placed.contract.and_then(|id| contracts.get(&id));
        let code = contract.map(|c| c.code.clone()).unwrap_or_default();
        let tier = contract.and_then(|c| c.tiers.iter().find(|t| t.bucket == placed.bucket));
        let bucket = Bucket::parse(&placed.bucket).unwrap_or(Bucket::Unknown);
        let key = (client, code, bucket, placed.currency.clone());
        lines.push((key, row(&placed, tier)));
    }
    lines.sort_by(|(a, _), (b, _)| a.cmp(b));
    let rows = lines
        .into_iter()
        .map(|((client, contract, bucket, currency), rest)| {
            let key = [&client, &contract, bucket.as_str(), &currency]
                .map(|text| Cell::Text(text.to_owned()));
            key.into_iter().chain(rest).collect()
        });
    let collate = within.collate();
    Ok(Body {
        heads: heads(&[
            "client",
            "contract",
            "bucket",
            "currency",
            "cases",
            "running",
            "placed",
            "deducted_cases",
            "deducted",
            "repaid",
            "recovery_rate",
            "base",
            "minimum",
            "standing",
            "fee",
        ]),
        rows: rows.collect(),
        total: None,
        meanings: vec!["recovery_rate", "standing", "fee"],
        notes: vec![
            format!(
                "batches placed {} to {}; repaid: within three months of the day of placement, until {}; running: cases \
                 whose three months are not over",
                placements.from, placements.to, placements.today
            ),
            "deducted from placed and repaid: cases barred as deceased or suspected fraud; batches without a day of \
             placement are in no cycle"
                .into(),
        ],
        sealed: false,
        sql_of_total: None,
        sql: format!(
            "{}\nORDER BY client{collate}, contract{collate}, CASE bucket WHEN 'to_90' THEN 1 WHEN 'to_180' THEN 2 \
             WHEN 'to_360' THEN 3 WHEN 'above_360' THEN 4 ELSE 5 END, currency{collate}",
            filled(recovery::recount(within.dialect).text, &placements.args())
        ),
    })
}

fn row(placed: &Placed, tier: Option<&Tier>) -> Vec<Cell> {
    let standing = tier.and_then(|tier| Standing::of(placed, tier));
    let fee = standing
        .zip(tier)
        .and_then(|(s, tier)| s.fee_e4(placed, tier));
    // Rates of a contract are exact to four decimals.
    let rate = |bp: Option<i64>| Cell::Rate(bp.map(|bp| bp as f64 / 10_000.0));
    let notified = notified_e4(placed);
    vec![
        Cell::Int(placed.cases),
        Cell::Int(placed.running),
        Cell::Money(placed.placed_e4),
        Cell::Int(placed.deducted_cases),
        Cell::Money(placed.deducted_e4),
        Cell::Money(placed.repaid_e4),
        share(placed.repaid_e4, notified.max(0)),
        rate(tier.map(|t| t.base_bp)),
        rate(tier.map(|t| t.minimum_bp)),
        Cell::Text(standing.map(Standing::as_str).unwrap_or_default().into()),
        fee.map_or(Cell::Empty, Cell::Money),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(placed_e4: i64, deducted_e4: i64, repaid_e4: i64, running: i64) -> Placed {
        Placed {
            client: 1,
            contract: Some(1),
            bucket: "to_90".into(),
            currency: "CNY".into(),
            cases: 1,
            running,
            placed_e4,
            deducted_cases: 0,
            deducted_e4,
            repaid_e4,
        }
    }

    #[test]
    fn a_rate_stands_where_the_contract_says_to_the_last_ten_thousandth() {
        let tier = Tier {
            bucket: "to_90".into(),
            base_bp: 8_500,
            minimum_bp: 6_000,
            fee_bp: 1_000,
            reduced_bp: Some(333),
        };
        for (case, standing, fee) in [
            (
                placed(1_000_000, 0, 850_000, 1),
                Some(Standing::Full),
                Some(85_000),
            ),
            (
                placed(1_000_000, 0, 849_999, 1),
                Some(Standing::Reduced),
                Some(28_305),
            ),
            (
                placed(1_000_000, 0, 600_000, 0),
                Some(Standing::Reduced),
                Some(19_980),
            ),
            (
                placed(1_000_000, 0, 599_999, 1),
                Some(Standing::Running),
                None,
            ),
            (
                placed(1_000_000, 0, 599_999, 0),
                Some(Standing::None),
                Some(0),
            ),
            (
                placed(1_000_000, 500_000, 425_000, 0),
                Some(Standing::Full),
                Some(42_500),
            ),
            (placed(1_000_000, 1_000_000, 0, 0), None, None),
            (placed(1_000_000, 0, -1, 0), Some(Standing::None), Some(0)),
            // Far beyond 64 bits on the way.
            (
                placed(i64::MAX, 0, i64::MAX, 0),
                Some(Standing::Full),
                Some(922_337_203_685_477_581),
            ),
        ] {
            assert_eq!(Standing::of(&case, &tier), standing, "{case:?}");
            let owed = standing.and_then(|s| s.fee_e4(&case, &tier));
            assert_eq!(owed, fee, "{case:?}");
        }
        let silent = Tier {
            reduced_bp: None,
            ..tier
        };
        let case = placed(1_000_000, 0, 600_000, 0);
        assert_eq!(Standing::Reduced.fee_e4(&case, &silent), None);
    }
}
