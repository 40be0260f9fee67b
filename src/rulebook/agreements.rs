//! Agreements: entered with their proof, approved by a second person where the client asks for it, ended by anybody
//! who may. Each act is one transaction with the access log.

use super::{By, Refused, find, reason};
use crate::{
    ids::{AgreementId, RecordingId},
    phone::PhoneNumber,
    policy::{Span, Week},
    store::{
        self, Db, Tx,
        access::{self, Access},
        agreements::{self, Agreement, AgreementState, NewAgreement, Proof, Step},
        contact_points::Target,
        users::{self, User},
    },
};

/// The most bytes of a letter.
pub const MAX_LETTER: usize = 5 * 1024 * 1024;

/// A letter as it came: a PDF, JPEG or PNG file.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    name: String,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Letter({} bytes)", self.bytes.len())
    }
}

impl Letter {
    /// Takes a file by its content, not by its name.
    ///
    /// # Errors
    /// [`Refused::Invalid`] if it is too large, or no PDF, JPEG or PNG.
    pub fn new(name: &str, bytes: Vec<u8>) -> Result<Self, Refused> {
        if bytes.len() > MAX_LETTER {
            return Err(Refused::Invalid(format!(
                "letter: {} bytes; at most {MAX_LETTER}, so scan it smaller",
                bytes.len()
            )));
        }
        if media_type(&bytes).is_none() {
            return Err(Refused::Invalid(
                "letter: neither PDF nor JPEG nor PNG by its content".into(),
            ));
        }
        let name: String = name
            .rsplit(['/', '\\'])
            .next()
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_control())
            .take(120)
            .collect();
        if name.is_empty() {
            return Err(Refused::Invalid("letter: the file has no name".into()));
        }
        Ok(Self { name, bytes })
    }
}

/// What a file is by its first bytes, of the kinds that a letter may be.
#[must_use]
pub fn media_type(bytes: &[u8]) -> Option<&'static str> {
    [
        (&b"%PDF-"[..], "application/pdf"),
        (&[0xff, 0xd8, 0xff][..], "image/jpeg"),
        (&b"\x89PNG\r\n\x1a\n"[..], "image/png"),
    ]
    .into_iter()
    .find_map(|(magic, kind)| bytes.starts_with(magic).then_some(kind))
}

/// What shall prove an agreement.
#[derive(Debug, Clone)]
pub enum Evidence {
    /// It was said in a recorded call.
    Recording {
        /// The recording.
        id: RecordingId,
        /// Where in it, milliseconds from its beginning.
        offset_ms: i64,
    },
    /// A letter.
    Letter(Letter),
}

/// An agreement as it was told.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The case.
    pub case: find::CaseName,
    /// The numbers it is for, all of one person.
    pub numbers: Vec<PhoneNumber>,
    /// The person, where several share a number: id of the contact.
    pub contact: Option<i64>,
    /// The hours of each weekday, local to the person.
    pub hours: Week,
    /// Since when; `None`: now.
    pub from_ms: Option<i64>,
    /// Until when.
    pub until_ms: i64,
    /// So many calls at most; `None`: as many as the caps allow.
    pub uses_most: Option<u32>,
    /// What proves it.
    pub evidence: Evidence,
}

/// Hours as the command line writes them: `20:00-22:00` for every day, or `sat,sun=10:00-12:00`; several add up.
///
/// # Errors
/// [`Refused::Invalid`] with both forms.
pub fn hours(texts: &[String]) -> Result<Week, Refused> {
    let wrong = |text: &str| {
        Refused::Invalid(format!(
            "hours {text:?}: write 20:00-22:00 for every day, or sat,sun=10:00-12:00"
        ))
    };
    let mut week = Week::default();
    for text in texts {
        let (days, span) = text
            .split_once('=')
            .unwrap_or(("mon,tue,wed,thu,fri,sat,sun", text));
        let span: Span = span.trim().parse().map_err(|_| wrong(text))?;
        for day in days.split(',') {
            let spans = match day.trim() {
                "mon" => &mut week.mon,
                "tue" => &mut week.tue,
                "wed" => &mut week.wed,
                "thu" => &mut week.thu,
                "fri" => &mut week.fri,
                "sat" => &mut week.sat,
                "sun" => &mut week.sun,
                _ => return Err(wrong(text)),
            };
            spans.push(span);
            spans.sort_unstable();
            spans.dedup();
        }
    }
    Ok(week)
}

/// Enters an agreement; gives its id. `two_persons`: the client's rules ask for a second person's approval. `seal`
/// encrypts a letter.
///
/// # Errors
/// [`Refused`] where case, person, numbers or proof do not hold together.
pub async fn propose(
    db: &Db,
    proposal: &Proposal,
    two_persons: bool,
    seal: impl FnOnce(&str, &[u8]) -> anyhow::Result<String>,
    viewer: Option<&User>,
    by: By<'_>,
) -> Result<AgreementId, Refused> {
    let from_ms = proposal.from_ms.unwrap_or(by.now_ms);
    if proposal.until_ms <= from_ms.max(by.now_ms) {
        return Err(Refused::Invalid(
            "until: an agreement ends after it begins, and not before now".into(),
        ));
    }
    if proposal.uses_most == Some(0) {
        return Err(Refused::Invalid(
            "uses: at least 1, or none at all for no limit".into(),
        ));
    }
    if proposal.hours == Week::default() {
        return Err(Refused::Invalid(
            "hours: say at which hours the person agreed to be called".into(),
        ));
    }
    let (letter_box, sealed) = match &proposal.evidence {
        Evidence::Letter(letter) => {
            let digest = ring::digest::digest(&ring::digest::SHA256, &letter.bytes);
            let sha256 = store::users::hex(digest.as_ref());
            let sealed = seal(&sha256, &letter.bytes).map_err(|error| {
                Refused::Conflict(format!("the letter cannot be kept: {error:#}"))
            })?;
            let proof = Proof::Letter {
                sha256,
                name: letter.name.clone(),
            };
            (Some(sealed), proof)
        }
        Evidence::Recording { id, offset_ms } => {
            let proof = Proof::Recording {
                id: *id,
                offset_ms: *offset_ms,
            };
            (None, proof)
        }
    };
    let mut tx = db.begin().await?;
    let case = find::case(&mut tx, &proposal.case, viewer).await?;
    let points = person(&mut tx, proposal, &case).await?;
    let contact = points.first().map_or(0, |point| point.contact);
    if let Proof::Recording { id, offset_ms } = &sealed {
        check_recording(&mut tx, *id, *offset_ms, &case).await?;
    }
    let numbers: Vec<i64> = points.iter().map(|point| point.number_id).collect();
    let new = NewAgreement {
        client: case.client_id,
        case: case.id,
        contact,
        numbers: &numbers,
        hours: &proposal.hours,
        from_ms,
        until_ms: proposal.until_ms,
        uses_most: proposal.uses_most,
        proof: &sealed,
        letter_box: letter_box.as_deref(),
        waits: two_persons,
        proposed_by: by.actor,
        now_ms: by.now_ms,
    };
    let id = agreements::propose(&mut tx, &new).await?;
    let detail = serde_json::json!({
        "case": case.id,
        "hours": proposal.hours,
        "until_ms": proposal.until_ms,
        "waits": two_persons,
    });
    log(&mut tx, "agreement.propose", id, case.client_id, detail, by).await?;
    tx.commit().await?;
    Ok(id)
}

/// The contact points that the numbers name: all of one person.
async fn person(
    tx: &mut Tx,
    proposal: &Proposal,
    case: &store::cases::Case,
) -> Result<Vec<Target>, Refused> {
    if proposal.numbers.is_empty() {
        return Err(Refused::Invalid(
            "numbers: say for which numbers of the case it is".into(),
        ));
    }
    let mut chosen: Vec<Target> = Vec::new();
    let mut contact = proposal.contact;
    for number in &proposal.numbers {
        let mut points = find::points(tx, case, number).await?;
        points.retain(|point| contact.is_none_or(|id| point.contact == id));
        let point = match points.as_slice() {
            [point] => point.clone(),
            [] => {
                return Err(Refused::Invalid(
                    "contact: the numbers are not all of that one person of the case".into(),
                ));
            }
            several => {
                let who: Vec<String> = several
                    .iter()
                    .map(|p| format!("{} ({})", p.contact, p.relation.as_str()))
                    .collect();
                return Err(Refused::Invalid(format!(
                    "contact: several persons share this number; say which one agreed: {}",
                    who.join(", ")
                )));
            }
        };
        contact = Some(point.contact);
        chosen.push(point);
    }
    Ok(chosen)
}

/// The recording must be there, closed, of this client, and long enough.
async fn check_recording(
    tx: &mut Tx,
    id: RecordingId,
    offset_ms: i64,
    case: &store::cases::Case,
) -> Result<(), Refused> {
    let recording = store::recordings::by_id(tx, id)
        .await?
        .filter(|recording| recording.client == case.client_id)
        .ok_or_else(|| {
            Refused::Unknown(format!("there is no recording {id} of this client's calls"))
        })?;
    let Some(seal) = recording.seal else {
        return Err(Refused::Conflict(format!(
            "recording {id} is {}; it proves something once it is sealed",
            recording.state
        )));
    };
    let length_ms = i64::try_from(seal.duration_ms).unwrap_or(i64::MAX);
    if !(0..length_ms).contains(&offset_ms) {
        return Err(Refused::Invalid(format!(
            "offset: {offset_ms} ms is not within the recording's {length_ms} ms"
        )));
    }
    Ok(())
}

/// How an agreement is brought on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act<'a> {
    /// The second person says yes.
    Approve,
    /// The second person says no, and why.
    Refuse(&'a str),
    /// It holds no longer, and why.
    Revoke(&'a str),
}

/// Approves, refuses or revokes an agreement.
///
/// # Errors
/// [`Refused::Conflict`] if it is not in a state in which that can be done, or the proposer wants to approve it.
pub async fn act(
    db: &Db,
    id: AgreementId,
    act: Act<'_>,
    viewer: Option<&User>,
    by: By<'_>,
) -> Result<(), Refused> {
    let mut tx = db.begin().await?;
    let agreement = visible(&mut tx, id, viewer).await?;
    let (step, action, why) = match act {
        Act::Approve => {
            other_person(&mut tx, &agreement, by.actor).await?;
            let step = agreements::approve(&mut tx, id, by.actor, by.now_ms).await?;
            (step, "agreement.approve", None)
        }
        Act::Refuse(why) => {
            let why = reason(why)?;
            let step = agreements::refuse(&mut tx, id, by.actor, why, by.now_ms).await?;
            (step, "agreement.refuse", Some(why))
        }
        Act::Revoke(why) => {
            let why = reason(why)?;
            let step = agreements::revoke(&mut tx, id, by.actor, why, by.now_ms).await?;
            (step, "agreement.revoke", Some(why))
        }
    };
    match step {
        Step::Done => {}
        Step::OwnProposal => {
            return Err(Refused::Conflict(format!(
                "agreement {id}: who entered it cannot approve it; a second person has to"
            )));
        }
        Step::Not(AgreementState::Active) if act == Act::Approve => {
            return Err(Refused::Conflict(format!(
                "agreement {id} is active: somebody has approved it"
            )));
        }
        Step::Not(state) => {
            return Err(Refused::Conflict(format!("agreement {id} is {state}")));
        }
    }
    let detail = serde_json::json!({ "case": agreement.case, "reason": why });
    log(&mut tx, action, id, agreement.client, detail, by).await?;
    tx.commit().await?;
    Ok(())
}

/// Two persons are two accounts of the house, and not two accounts of one agent. What was entered under a name that is
/// no account (an older version took any) is nobody's word.
async fn other_person(tx: &mut Tx, agreement: &Agreement, approver: &str) -> Result<(), Refused> {
    let id = agreement.id;
    let proposer = users::by_name(tx, &agreement.proposed_by).await?;
    let Some(proposer) = proposer else {
        return Err(Refused::Conflict(format!(
            "agreement {id}: who entered it has no account, so nobody can tell that a second person approves it; refuse it and \
             enter it anew"
        )));
    };
    let approver = users::by_name(tx, approver).await?;
    let Some(approver) = approver.filter(|user| user.revoked_at_ms.is_none()) else {
        return Err(Refused::Conflict(format!(
            "agreement {id}: only somebody with a valid account can approve it"
        )));
    };
    let same_agent = proposer.agent_id.is_some() && proposer.agent_id == approver.agent_id;
    if proposer.id == approver.id || same_agent {
        return Err(Refused::Conflict(format!(
            "agreement {id}: who entered it cannot approve it; a second person has to"
        )));
    }
    Ok(())
}

/// The agreement, if the viewer may see it.
///
/// # Errors
/// [`Refused::Unknown`].
pub async fn visible(
    tx: &mut Tx,
    id: AgreementId,
    viewer: Option<&User>,
) -> Result<Agreement, Refused> {
    agreements::by_id(tx, id)
        .await?
        .filter(|found| viewer.is_none_or(|user| user.scope.includes(found.client)))
        .ok_or_else(|| {
            Refused::Unknown("there is no such agreement among your clients' cases".into())
        })
}

async fn log(
    tx: &mut Tx,
    action: &'static str,
    id: AgreementId,
    client: crate::ids::ClientId,
    detail: serde_json::Value,
    by: By<'_>,
) -> Result<(), Refused> {
    let access = Access {
        at_ms: by.now_ms,
        actor: by.actor,
        action,
        object: &id.to_string(),
        client_id: Some(client),
        detail,
    };
    Ok(access::log(tx, &access).await?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hours_are_for_every_day_or_for_named_ones_and_add_up() {
        let week = hours(&["21:00-22:00".into(), "sat,sun=07:00-08:00".into()]).unwrap();
        let shown = |spans: &[Span]| spans.iter().map(Span::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&week.mon), ["21:00-22:00"]);
        assert_eq!(shown(&week.sun), ["07:00-08:00", "21:00-22:00"]);
        for bad in ["21-22", "someday=21:00-22:00", "sat=22:00-21:00", ""] {
            let error = hours(&[bad.into()]).unwrap_err().to_string();
            assert!(error.contains("sat,sun=10:00-12:00"), "{error}");
        }
    }

    #[test]
    fn a_letter_is_what_its_first_bytes_say_and_keeps_only_the_name_of_its_file() {
        let letter = Letter::new("C:\\scans\\../letter.pdf", b"%PDF-1.7 ...".to_vec()).unwrap();
        assert_eq!(letter.name, "letter.pdf");
        assert_eq!(format!("{letter:?}"), "Letter(12 bytes)");
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\nrest"), Some("image/png"));
        assert_eq!(media_type(&[0xff, 0xd8, 0xff, 0xe0]), Some("image/jpeg"));
        for (name, bytes) in [
            ("letter.pdf", b"MZ\x90".to_vec()),
            ("letter.pdf", Vec::new()),
            ("", b"%PDF-1.7".to_vec()),
            ("big.pdf", [b"%PDF-".to_vec(), vec![0; MAX_LETTER]].concat()),
        ] {
            let error = Letter::new(name, bytes).unwrap_err();
            assert!(error.to_string().starts_with("letter: "), "{error}");
        }
    }
}
