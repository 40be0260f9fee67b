//! Why attempts ended, and whose fault that is: ours, the trunk's, the callee's, the caller's.

use super::{Body, Within, calls, heads, share};
use crate::{
    call::Cause,
    export::Cell,
    store::{Error, Result, Tx, figures::Axis},
};

pub(super) async fn read(tx: &mut Tx, within: &Within<'_>) -> Result<Body> {
    let mut causes = Vec::new();
    for (values, sums) in calls::sums(tx, &[Axis::Cause], within).await? {
        let word = values.into_iter().next().unwrap_or_default();
        let cause = Cause::parse(&word)
            .ok_or_else(|| Error::unknown("read the causes", "rollup_days.value"))?;
        causes.push((cause.class().as_str(), cause.as_str(), sums));
    }
    causes.sort_by_key(|(class, cause, _)| (*class, *cause));
    let all: i64 = causes.iter().map(|(.., sums)| sums.attempts).sum();
    let rows = causes.into_iter().map(|(class, cause, sums)| {
        vec![
            Cell::Text(class.into()),
            Cell::Text(cause.into()),
            Cell::Int(sums.attempts),
            share(sums.attempts, all),
            Cell::Int(sums.seizures),
            Cell::Int(sums.connected),
        ]
    });
    Ok(Body {
        heads: heads(&[
            "fault_of",
            "cause",
            "attempts",
            "share",
            "seizures",
            "connected",
        ]),
        rows: rows.collect(),
        total: None,
        meanings: vec!["attempts", "share", "seizures", "connected", "lost_ours"],
        notes: vec![
            "fault_of ours: this installation, and in no connect rate unless the call was answered; trunk: the PBX and the \
             network behind it; callee: the person called or the number; caller: the agent"
                .into(),
        ],
        sealed: true,
        sql_of_total: None,
        sql: format!(
            "SELECT f.k1 AS fault_of, f.k2 AS cause, f.attempts, f.attempts * 1.0 / SUM(f.attempts) OVER () AS share,
       f.seizures, f.connected
FROM ({}) AS f
ORDER BY f.k1{collate}, f.k2{collate}",
            calls::facts(&["a.class", "a.cause"], within),
            collate = within.collate()
        ),
    })
}
