//! The one transaction in which a click becomes an attempt or a refusal.
//!
//! Guard rows first, so that two clicks at once cannot both pass a cap; then the facts, the pure decision, its receipt,
//! the attempt and the answer to the idempotency key: all of it stands, or none. Nothing rings before this returns.

use std::time::Duration;

use super::{DialAnswer, DialError, DialRequest, RefusalText, RequestKey};
use crate::{
    call::task::Granted,
    clock::Clock,
    ids::{CallId, ReceiptId},
    policy::{self, Verdict},
    rulebook::in_force::Rulebook,
    store::{
        self, Db, Tx,
        attempts::{NewAttempt, Purpose},
        contact_points::Target,
        facts::LocalMoment,
        guards::Guard,
        idempotency::{Answer, Known},
        receipts::NewReceipt,
    },
};

/// So often the guards may turn out to be the wrong ones: persons are merged while a click waits.
const TRIES: usize = 3;

/// What the gate needs besides the request.
pub(super) struct Gate {
    pub db: Db,
    pub clock: Clock,
    pub rules: Rulebook,
    pub node: String,
    pub trunk: String,
    pub caller_id: String,
    pub purpose: Purpose,
}

/// What came of a click.
pub(super) enum Gated {
    /// This very click was answered before.
    Before(DialAnswer),
    /// The attempt is stored; the call may begin.
    Allowed(Box<Granted>),
    /// Refused, with its receipt stored.
    Refused(DialAnswer),
    /// Allowed, but nobody knows whether that stands. Nothing may ring.
    Unsure(Box<Unsure>),
}

/// The database went away as an attempt was written down.
pub(super) struct Unsure {
    /// What it was decided under: whoever takes them next sees whether the attempt stands.
    pub guards: Vec<Guard>,
    /// What the database said.
    pub error: store::Error,
}

impl Gate {
    /// Decides one click. `call` and `receipt` are fresh ids.
    pub async fn decide(
        &self,
        request: &DialRequest,
        call: CallId,
        receipt: ReceiptId,
    ) -> Result<Gated, DialError> {
        for _ in 0..TRIES {
            if let Some(gated) = self.try_to_decide(request, call, receipt).await? {
                return Ok(gated);
            }
        }
        Err(DialError::Store(store::Error::Unavailable {
            act: "decide a call",
            cause: "the persons behind the number change all the time".into(),
            remedy: "try again when the import that is at work is done".into(),
        }))
    }

    /// One transaction; `None` if the guards it took turned out to be the wrong ones.
    async fn try_to_decide(
        &self,
        request: &DialRequest,
        call: CallId,
        receipt: ReceiptId,
    ) -> Result<Option<Gated>, DialError> {
        let mut tx = self.db.begin_deciding().await?;
        if let Some(key) = &request.key
            && let Some(answer) = Self::known(&mut tx, key).await?
        {
            return Ok(Some(Gated::Before(answer)));
        }
        let target = self.target(&mut tx, request).await?;
        let guards = store::facts::guards(&mut tx, &target).await?;
        store::guards::touch(&mut tx, &guards).await?;
        // It may have changed while another click held the guards, and so may whom it counts for.
        let target = self.target(&mut tx, request).await?;
        if store::facts::guards(&mut tx, &target).await? != guards {
            tx.rollback().await?;
            return Ok(None);
        }

        let now = self.clock.now();
        let rules = self.rules.now();
        let set = rules.of(&target.client_code);
        let facts = store::facts::read(&mut tx, &target, set.rules.clone(), now.wall_ms).await?;
        let mut decision = policy::decide(&facts, &now);
        store::receipts::insert(
            &mut tx,
            &NewReceipt {
                id: receipt,
                at_ms: now.wall_ms,
                allowed: decision.is_allowed(),
                target: &target,
                agent: Some(request.agent),
                user: request.user,
                rules_sha256: decision.receipt.rules_hash(),
                reasons: &store::receipts::codes(&decision),
                body: decision.receipt.text(),
            },
        )
        .await?;

        let whose = (target.client, target.client_code.as_str());
        self.rules.keep(&mut tx, &rules, whose, now.wall_ms).await?;

        let permit = decision.take_permit();
        let gated = match (decision.verdict, permit) {
            (
                Verdict::Allow {
                    valid_until_ms,
                    ring_ms,
                    ring_until_ms,
                    closes_at_ms,
                    agreement,
                },
                Some(permit),
            ) => {
                // An Allow has at least one good zone.
                let local = LocalMoment::of(&facts.zones, now.wall_ms)
                    .ok_or_else(|| store::Error::unknown("place a call in local time", "zone"))?;
                let attempt = NewAttempt {
                    id: call,
                    receipt,
                    purpose: self.purpose,
                    node: &self.node,
                    target: &target,
                    agent: request.agent,
                    user: request.user,
                    trunk: &self.trunk,
                    caller_id: &self.caller_id,
                    zone: &local.zone,
                    local_date: &local.date,
                    local_hour: local.hour,
                    started_at_ms: now.wall_ms,
                    valid_until_ms,
                };
                store::attempts::insert(&mut tx, &attempt).await?;
                store::cases::note_attempt(&mut tx, target.case, now.wall_ms).await?;
                if let Some(agreement) = agreement {
                    store::agreements::note_use(&mut tx, agreement, receipt).await?;
                }
                let ring = Duration::from_millis(u64::try_from(ring_ms).unwrap_or(0));
                Gated::Allowed(Box::new(Granted {
                    permit,
                    ring,
                    valid_until_ms,
                    ring_until_ms,
                    closes_at_ms,
                    rules_sha256: set.sha256.clone(),
                    target: target.clone(),
                }))
            }
            (Verdict::Deny { reasons }, _) => Gated::Refused(DialAnswer::Refused {
                receipt,
                reasons: reasons.iter().map(RefusalText::of).collect(),
            }),
            // `decide` gives a permit with every Allow; without one nothing may ring.
            (Verdict::Allow { .. }, None) => {
                return Err(DialError::Store(store::Error::unknown(
                    "decide a call",
                    "permit",
                )));
            }
        };
        self.answer(&mut tx, request, &gated, call, now.wall_ms)
            .await?;
        match (tx.commit().await, &gated) {
            (Ok(()), _) => {
                self.rules.is_kept(&rules, &target.client_code);
                Ok(Some(gated))
            }
            (Err(error), Gated::Allowed(_)) if error.is_unavailable() => {
                Ok(Some(Gated::Unsure(Box::new(Unsure { guards, error }))))
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// What was answered to this very click before, if it was.
    pub async fn answered_before(
        &self,
        request: &DialRequest,
    ) -> Result<Option<DialAnswer>, DialError> {
        let Some(key) = &request.key else {
            return Ok(None);
        };
        let mut tx = self.db.read().await?;
        Self::known(&mut tx, key).await
    }

    async fn known(tx: &mut Tx, key: &RequestKey) -> Result<Option<DialAnswer>, DialError> {
        match store::idempotency::find(tx, key.user, &key.key, &key.request).await? {
            Known::New => Ok(None),
            Known::Other => Err(DialError::KeyReused),
            Known::Same(answer) => serde_json::from_str(&answer.body).map(Some).map_err(|_| {
                store::Error::unknown("read a stored answer", "idempotency_keys.body").into()
            }),
        }
    }

    async fn target(&self, tx: &mut Tx, request: &DialRequest) -> Result<Target, DialError> {
        store::contact_points::target(tx, request.contact_point)
            .await?
            .ok_or(DialError::NotFound)
    }

    async fn answer(
        &self,
        tx: &mut Tx,
        request: &DialRequest,
        gated: &Gated,
        call: CallId,
        now_ms: i64,
    ) -> Result<(), DialError> {
        let Some(key) = &request.key else {
            return Ok(());
        };
        let (status, answer) = match gated {
            Gated::Allowed(_) => (202, &DialAnswer::Accepted { call }),
            Gated::Refused(answer) | Gated::Before(answer) => (422, answer),
            // Only known after the answer was written.
            Gated::Unsure(_) => return Ok(()),
        };
        let body = serde_json::to_string(answer)
            .map_err(|_| store::Error::unknown("write an answer", "idempotency_keys.body"))?;
        store::idempotency::insert(
            tx,
            key.user,
            &key.key,
            &key.request,
            &Answer { status, body },
            now_ms,
        )
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
