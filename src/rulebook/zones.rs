//! The time zone on record for a contact point: where the person called lives, if somebody knows better than the number
//! says. It decides whose hour counts, so putting it there is an act with a reason, in the access log.

use super::{By, Refused, reason};
use crate::{
    ids::ContactPointId,
    policy::Zones,
    store::{
        self, Db, Tx,
        access::{self, Access},
        contact_points::{self, Target},
        users::User,
    },
};

/// Puts a zone on record, or takes it off (`None`: by the number again); gives whether that is new. Decisions from now on go
/// by it.
///
/// # Errors
/// [`Refused::Unknown`] if there is no such contact point for who asks, [`Refused::Invalid`] for a name that is no zone or
/// not a legal one.
pub async fn set(
    db: &Db,
    point: ContactPointId,
    zone: Option<&str>,
    why: &str,
    viewer: Option<&User>,
    by: By<'_>,
) -> Result<bool, Refused> {
    let zone = zone.map(Zones::on_record).transpose();
    let zone = zone.map_err(Refused::Invalid)?;
    let why = reason(why)?;
    let mut tx = db.begin().await?;
    let target = contact_points::target(&mut tx, point)
        .await?
        .filter(|target| viewer.is_none_or(|user| user.scope.includes(target.client)))
        .ok_or_else(|| Refused::Unknown("there is no such contact point".into()))?;
    if target.zone == zone {
        return Ok(false);
    }
    note(&mut tx, &target, zone.as_deref(), why, by).await?;
    tx.commit().await?;
    Ok(true)
}

/// Puts a zone on record within a transaction that does more.
///
/// # Errors
/// The database.
pub async fn note(
    tx: &mut Tx,
    target: &Target,
    zone: Option<&str>,
    why: &str,
    by: By<'_>,
) -> store::Result<()> {
    contact_points::set_zone(tx, target.contact_point, zone).await?;
    let access = Access {
        at_ms: by.now_ms,
        actor: by.actor,
        action: "contact_point.zone",
        object: &target.contact_point.to_string(),
        client_id: Some(target.client),
        detail: serde_json::json!({
            "case": target.case, "before": target.zone, "after": zone, "reason": why,
        }),
    };
    access::log(tx, &access).await
}
