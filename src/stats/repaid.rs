//! What came back of each case, counted again from the repayments. The sums stand with the case, because a list of cases
//! and a report on recovery would add them up for each one. Read next: `store/repayments.rs`.

use crate::store::{
    Db, Result,
    repayments::{self, Repaid},
};

/// Cases looked at in one transaction.
const PIECE: i64 = 5_000;

/// Where the sums of a case and its repayments differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What is stored with the case.
    pub stored: Repaid,
    /// What its repayments add up to.
    pub recounted: Repaid,
}

/// Recounts every case, a few thousand at a time. `told` hears of each difference.
///
/// # Errors
/// The database.
pub async fn recount(db: &Db, mut told: impl FnMut(Difference)) -> Result<i64> {
    let (mut after, mut cases) = (0, 0);
    loop {
        // One moment a piece: a reading transaction that lasts would keep SQLite's log from being folded back.
        let mut tx = db.read().await?;
        let piece = repayments::recounted(&mut tx, after, PIECE).await?;
        tx.rollback().await?;
        let Some((last, _)) = piece.last() else {
            return Ok(cases);
        };
        after = last.case.get();
        cases += i64::try_from(piece.len()).unwrap_or(i64::MAX);
        for (stored, recounted) in piece {
            if stored != recounted {
                told(Difference { stored, recounted });
            }
        }
    }
}
