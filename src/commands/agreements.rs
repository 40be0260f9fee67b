//! `ringfence agreements`: who agreed to be called at which other hours, and what proves it.

use std::{io::Write, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use super::{ACTOR, Desk};
use crate::{
    api::{Right, may},
    ids::{AgreementId, RecordingId},
    rulebook::{
        self, By,
        agreements::{Act, Evidence, Letter, Proposal, hours},
        find::{self, CaseName},
    },
    store::{
        Tx,
        agreements::{self, Agreement, AgreementState, Proof, Wanted},
        cases,
        clients::{self, Client},
        users::{self, User},
    },
};

/// Arguments of `ringfence agreements`.
#[derive(Debug, Args)]
pub struct AgreementsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AgreementsCommand,
}

/// What to do with agreements.
#[derive(Debug, Subcommand)]
pub enum AgreementsCommand {
    /// Enter an agreement with its proof; it counts at once unless the client's rules ask for a second person
    Propose(ProposeArgs),
    /// Say yes as the second person; also to one that was entered before the rules asked for a second person
    Approve {
        /// Number of the agreement
        id: AgreementId,
        /// The account of who does it, as the books will say; never who entered it
        #[arg(long, value_name = "NAME")]
        by: String,
    },
    /// Say no as the second person
    Refuse(EndArgs),
    /// Take an agreement back; a call whose agent's phone still rings is stopped by it
    Revoke(EndArgs),
    /// List the agreements, newest first; used and expired ones too
    List {
        /// Only those of this case
        #[arg(long, value_name = "CLIENT/CASE")]
        case: Option<CaseName>,
        /// Only those in this state: waiting, active, refused, revoked
        #[arg(long)]
        state: Option<AgreementState>,
        /// The most to list
        #[arg(long, default_value_t = 200)]
        limit: u32,
    },
    /// Show one agreement with everything it allowed
    Show {
        /// Number of the agreement
        id: AgreementId,
    },
}

/// Arguments of `ringfence agreements propose`.
#[derive(Debug, Args)]
pub struct ProposeArgs {
    /// The case
    #[arg(long, value_name = "CLIENT/CASE")]
    pub case: CaseName,
    /// A number of the case that it is for; may be given several times
    #[arg(long = "number", required = true)]
    pub numbers: Vec<String>,
    /// Who agreed, where several persons of the case share the number
    #[arg(long, value_name = "ID")]
    pub contact: Option<i64>,
    /// Local hours: 20:00-22:00 for every day, or sat,sun=10:00-12:00; may be given several times
    #[arg(long = "hours", required = true)]
    pub hours: Vec<String>,
    /// Since when; left out: now
    #[arg(long, value_name = "INSTANT")]
    pub from: Option<String>,
    /// Until when: 2026-12-31T21:00:00+08:00, or without the offset in the operators' zone
    #[arg(long, value_name = "INSTANT")]
    pub until: String,
    /// So many calls at most
    #[arg(long, value_name = "CALLS")]
    pub uses: Option<u32>,
    /// The recording in which it was said
    #[arg(
        long,
        requires = "offset_s",
        required_unless_present = "letter",
        conflicts_with = "letter"
    )]
    pub recording: Option<RecordingId>,
    /// Where in the recording, in seconds
    #[arg(long, value_name = "SECONDS", requires = "recording")]
    pub offset_s: Option<u32>,
    /// The letter: a PDF, JPEG or PNG file of 5 MiB at most; it is kept encrypted
    #[arg(long, value_name = "FILE")]
    pub letter: Option<PathBuf>,
    /// The account of who does it, as the books will say
    #[arg(long, value_name = "NAME")]
    pub by: String,
}

/// Arguments of `ringfence agreements refuse` and `revoke`.
#[derive(Debug, Args)]
pub struct EndArgs {
    /// Number of the agreement
    pub id: AgreementId,
    /// Why, in words
    #[arg(long)]
    pub reason: String,
    /// Who does it, as the books will say
    #[arg(long, value_name = "NAME", default_value = ACTOR)]
    pub by: String,
}

/// Runs `ringfence agreements`.
///
/// # Errors
/// Whatever is not there or does not hold together, and the database.
pub async fn run(
    args: AgreementsArgs,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let by = |actor| By {
        actor,
        now_ms: desk.now_ms,
    };
    match args.command {
        AgreementsCommand::Propose(args) => propose(&args, desk, out).await?,
        AgreementsCommand::Approve { id, by: actor } => {
            let mut tx = desk.db.read().await?;
            let agreement = rulebook::agreements::visible(&mut tx, id, None).await?;
            let client = clients::by_id(&mut tx, agreement.client).await?;
            let user = account(&mut tx, &actor, Right::Approve, client.as_ref()).await?;
            tx.rollback().await?;
            rulebook::agreements::act(desk.db, id, Act::Approve, Some(&user), by(&actor)).await?;
            writeln!(out, "agreement {id} is approved")?;
        }
        AgreementsCommand::Refuse(args) => {
            let act = Act::Refuse(&args.reason);
            rulebook::agreements::act(desk.db, args.id, act, None, by(&args.by)).await?;
            writeln!(out, "agreement {} is refused", args.id)?;
        }
        AgreementsCommand::Revoke(args) => {
            let act = Act::Revoke(&args.reason);
            rulebook::agreements::act(desk.db, args.id, act, None, by(&args.by)).await?;
            writeln!(out, "agreement {} is revoked", args.id)?;
        }
        AgreementsCommand::List { case, state, limit } => {
            let mut tx = desk.db.read().await?;
            let case = match case {
                Some(name) => Some(find::case(&mut tx, &name, None).await?.id),
                None => None,
            };
            let wanted = Wanted {
                case,
                state,
                before: None,
            };
            let two_persons = desk.two_persons(&mut tx).await?;
            let found = agreements::list(&mut tx, wanted, &two_persons, None, limit).await?;
            let mut table = super::table([
                "agreement",
                "case",
                "from",
                "until",
                "calls",
                "state",
                "proof",
                "by",
            ]);
            for agreement in &found {
                table.add_row([
                    agreement.id.to_string(),
                    agreement.case.to_string(),
                    desk.local(agreement.from_ms),
                    desk.local(agreement.until_ms),
                    calls(agreement),
                    agreement
                        .standing(desk.now_ms, two_persons.contains(&agreement.client))
                        .to_owned(),
                    proof(agreement),
                    agreement.proposed_by.clone(),
                ]);
            }
            writeln!(out, "{table}")?;
        }
        AgreementsCommand::Show { id } => show(id, desk, out).await?,
    }
    Ok(())
}

/// The account that an act about a client's case is booked to. A name that anybody could type would make two persons of one.
async fn account(
    tx: &mut Tx,
    name: &str,
    right: Right,
    client: Option<&Client>,
) -> anyhow::Result<User> {
    let Some(user) = users::by_name(tx, name).await? else {
        bail!("--by {name}: there is no account of this name; `ringfence users list` shows them");
    };
    if user.revoked_at_ms.is_some() {
        bail!("--by {name}: this account is barred");
    }
    if !may(user.role, right) {
        bail!(
            "--by {name}: the role {} may not {}",
            user.role,
            right.words()
        );
    }
    if let Some(client) = client.filter(|client| !user.scope.includes(client.id)) {
        bail!(
            "--by {name}: this account does not see client {}",
            client.code
        );
    }
    Ok(user)
}

async fn propose(
    args: &ProposeArgs,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = desk.db.read().await?;
    let client = clients::by_code(&mut tx, &args.case.client).await?;
    let proposer = account(&mut tx, &args.by, Right::Agree, client.as_ref()).await?;
    tx.rollback().await?;
    let instant = |text: &String| rulebook::instant(text, &desk.zone);
    let evidence = match (&args.letter, args.recording) {
        (Some(path), _) => {
            let shown = path.display();
            let size = std::fs::metadata(path)
                .with_context(|| format!("cannot read {shown}"))?
                .len();
            if size > rulebook::agreements::MAX_LETTER as u64 {
                bail!(
                    "{shown}: {size} bytes; a letter has at most {}",
                    rulebook::agreements::MAX_LETTER
                );
            }
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Evidence::Letter(Letter::new(&name, bytes)?)
        }
        (None, Some(id)) => Evidence::Recording {
            id,
            offset_ms: i64::from(args.offset_s.unwrap_or(0)) * 1_000,
        },
        (None, None) => bail!("say what proves it: --recording and --offset-s, or --letter"),
    };
    let proposal = Proposal {
        case: args.case.clone(),
        numbers: args
            .numbers
            .iter()
            .map(|text| desk.numbering.number(text))
            .collect::<Result<_, _>>()?,
        contact: args.contact,
        hours: hours(&args.hours)?,
        from_ms: args.from.as_ref().map(instant).transpose()?,
        until_ms: instant(&args.until)?,
        uses_most: args.uses,
        evidence,
    };
    let deciding = desk.deciding(Some(&args.case.client), false).await?;
    let two_persons = deciding.set.rules.two_persons();
    let by = By {
        actor: &args.by,
        now_ms: desk.now_ms,
    };
    let key = match &proposal.evidence {
        Evidence::Letter(_) => Some(desk.fields().await?),
        Evidence::Recording { .. } => None,
    };
    let seal = |sha256: &str, bytes: &[u8]| {
        let key = key.as_ref().context("there is no key for letters")?;
        Ok(key.seal_letter(sha256, bytes)?)
    };
    let id =
        rulebook::agreements::propose(desk.db, &proposal, two_persons, seal, Some(&proposer), by)
            .await?;
    let then = if two_persons {
        "it waits for a second person: ringfence agreements approve"
    } else {
        "it counts"
    };
    writeln!(out, "agreement {id}; {then}")?;
    Ok(())
}

async fn show(
    id: AgreementId,
    desk: &Desk<'_>,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut tx = desk.db.read().await?;
    let agreement = rulebook::agreements::visible(&mut tx, id, None).await?;
    let client = clients::by_id(&mut tx, agreement.client).await?;
    let case = cases::by_id(&mut tx, agreement.case).await?;
    let uses = agreements::uses(&mut tx, id).await?;
    let two_persons = desk.two_persons(&mut tx).await?;
    let two_persons = two_persons.contains(&agreement.client);
    let mut line = |name: &str, value: String| writeln!(out, "{name:<10} {value}");
    line(
        "case",
        format!(
            "{}/{}",
            client.map(|c| c.code).unwrap_or_default(),
            case.map(|c| c.reference).unwrap_or_default()
        ),
    )?;
    line("contact", agreement.contact.to_string())?;
    line("numbers", format!("{:?}", agreement.numbers))?;
    line("hours", serde_json::to_string(&agreement.hours)?)?;
    line("from", desk.local(agreement.from_ms))?;
    line("until", desk.local(agreement.until_ms))?;
    line("calls", calls(&agreement))?;
    line(
        "state",
        agreement.standing(desk.now_ms, two_persons).to_owned(),
    )?;
    line("proof", proof(&agreement))?;
    line(
        "proposed",
        format!(
            "{} by {}",
            desk.local(agreement.proposed_at_ms),
            agreement.proposed_by
        ),
    )?;
    if let (Some(by), Some(at_ms)) = (&agreement.approved_by, agreement.approved_at_ms) {
        line("approved", format!("{} by {by}", desk.local(at_ms)))?;
    }
    if let (Some(by), Some(at_ms)) = (&agreement.ended_by, agreement.ended_at_ms) {
        let why = agreement.ended_reason.as_deref().unwrap_or_default();
        line("ended", format!("{} by {by}: {why}", desk.local(at_ms)))?;
    }
    for receipt in uses {
        line("allowed", format!("receipt {receipt}"))?;
    }
    Ok(())
}

fn calls(agreement: &Agreement) -> String {
    match agreement.uses_most {
        Some(most) => format!("{} of {most}", agreement.uses),
        None => agreement.uses.to_string(),
    }
}

fn proof(agreement: &Agreement) -> String {
    match &agreement.proof {
        Proof::Recording { id, offset_ms } => {
            format!(
                "recording {id} at {}.{:03} s",
                offset_ms / 1_000,
                offset_ms % 1_000
            )
        }
        Proof::Letter { name, sha256 } => {
            format!(
                "letter {name}, SHA-256 {}…",
                sha256.get(..16).unwrap_or(sha256)
            )
        }
    }
}
