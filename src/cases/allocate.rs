//! Allocation bound to the database: reads the cases and who may get them, has [`super::allocation`] plan, writes the plan,
//! carries it out, undoes it.
//!
//! As an import: a plan is written in pieces that nobody sees and shown at once; to carry it out or to undo it is decided
//! in one short transaction and then done in pieces, between which calls go on. What breaks off is looked after by the
//! next allocation or the next start ([`recover`]): a plan that was not yet shown is swept away, what was decided is done
//! to its end. No case is dealt twice by it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::allocation::{self, Item, Job, Method, Owner, PlanError, Receiver};
use crate::{
    clock::Clock,
    ids::{AgentId, AllocationId, CaseId, TeamId},
    pace::Pace,
    policy::CaseState,
    store::{
        self, Db, Tx, WorkLock,
        access::{self, Access},
        allocations::{self, AllocationState, Decision, Piece, Total},
        selection::{self, CaseFilter, Holding, Selected},
        teams::Member,
        users::User,
    },
};

/// References of those left as they were that are named; the rest is counted.
const NAMED: u32 = 50;
/// So long somebody waits for the allocation of somebody else, which takes a second or two.
const PATIENCE: Duration = Duration::from_secs(20);
/// And asks again after so long.
const AGAIN: Duration = Duration::from_millis(20);

/// What to allocate, among whom and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Which cases; only open ones where it does not say.
    #[serde(default)]
    pub cases: CaseFilter,
    /// Or: code of the client whose cases `references` names; `cases` may then say their state.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// The client's case numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Employee numbers of those who get them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// Codes of teams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// Whether the teams get the cases as a whole, and not their agents.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub to_teams: bool,
    /// For the method `match`: employee numbers of the agents of a region.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub regions: BTreeMap<String, Vec<String>>,
}

/// Why nothing was allocated.
#[derive(Debug, thiserror::Error)]
pub enum AllocateError {
    /// An agent or a team that does not exist, or has left.
    #[error("there is no {what} {code:?} who can get cases")]
    Unknown {
        /// `agent` or `team`.
        what: &'static str,
        /// As it was written.
        code: String,
    },
    /// A list with other filters, or without the client.
    #[error("name either filters, or a client and its case numbers")]
    List,
    /// The client of a list.
    #[error("there is no such client")]
    NoClient,
    /// Nothing to allocate.
    #[error("no case is selected")]
    NoCases,
    /// Somebody of a region who is none of those who get cases.
    #[error(
        "agent {0} is named for a region, but not among those who get cases: name the agent there too"
    )]
    Region(String),
    /// Amounts that cannot be compared.
    #[error("the selected cases are in several currencies ({0}); name one")]
    Currencies(String),
    /// No plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No such allocation.
    #[error("there is no such allocation")]
    NotFound,
    /// It is in a state from which there is no way.
    #[error("the allocation is {0}")]
    State(AllocationState),
    /// Somebody else allocates.
    #[error("another allocation is at work; try again when it is over")]
    Busy,
    /// The database went away after it was decided.
    #[error(
        "it is decided, but not carried out to its end yet: the next allocation or start of the daemon goes on ({0})"
    )]
    Pending(#[source] store::Error),
    /// The database; nothing was done.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The allocation.
    pub id: AllocationId,
    /// What each receiver would get.
    pub totals: Vec<Total>,
    /// Case numbers of the list that are not in it: there is no such case, or it is not in the state that was asked for.
    pub left_out: Vec<String>,
}

/// What was carried out or undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Cases that changed hands.
    pub changed: u64,
    /// Cases left as they are, in all.
    pub left: i64,
    /// Client and case number of the first of those.
    pub left_cases: Vec<(String, String)>,
    /// The longest that a piece held the writer.
    pub longest_ms: u64,
}

/// Plans, writes the plan, and says what each receiver would get. `viewer` `None`: the command line.
///
/// # Errors
/// [`AllocateError`].
pub async fn plan(
    db: &Db,
    clock: &Clock,
    request: &Request,
    viewer: Option<&User>,
    actor: &str,
) -> Result<Planned, AllocateError> {
    let mut tx = db.read().await?;
    let (selected, left_out) = selected(&mut tx, request, viewer).await?;
    let job = job(&mut tx, request, selected).await?;
    tx.rollback().await?;
    let plan = tokio::task::spawn_blocking(move || allocation::plan(&job))
        .await
        .map_err(|_| PlanError::Nobody)??;
    let lock = lock(db).await?;
    let planned = plan_locked(db, clock, request, &plan, actor).await;
    lock.release().await;
    let (id, totals) = planned?;
    Ok(Planned {
        id,
        totals,
        left_out,
    })
}

async fn plan_locked(
    db: &Db,
    clock: &Clock,
    request: &Request,
    plan: &allocation::Plan,
    actor: &str,
) -> Result<(AllocationId, Vec<Total>), AllocateError> {
    recover_locked(db, clock).await?;
    let query = serde_json::to_string(request)
        .map_err(|_| store::Error::unknown("write an allocation", "allocations.query"))?;
    let (method, now_ms) = (request.method.as_str(), clock.wall_ms());
    let mut tx = db.begin().await?;
    let id = allocations::insert(&mut tx, method, &query, actor, now_ms).await?;
    tx.commit().await?;
    if let Err(error) = stage(db, clock, id, plan, actor).await {
        // If the database went away, the next allocation or start sweeps.
        if let Err(swept) = sweep(db, clock, id).await {
            tracing::warn!(error = %swept, allocation = id.get(), "a plan that broke off is not swept yet");
        }
        return Err(error.into());
    }
    let mut tx = db.read().await?;
    let totals = allocations::totals(&mut tx, id).await?;
    Ok((id, totals))
}

/// Writes the cases of a plan, and shows it.
async fn stage(
    db: &Db,
    clock: &Clock,
    id: AllocationId,
    plan: &allocation::Plan,
    actor: &str,
) -> Result<(), store::Error> {
    let mut pace = Pace::new(db, clock);
    let mut rest = plan.given.as_slice();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at((pace.rows() as usize).min(rest.len()));
        let mut tx = pace.begin().await?;
        allocations::fence(&mut tx, id, None, clock.wall_ms()).await?;
        allocations::insert_items(&mut tx, id, piece).await?;
        pace.commit(tx).await?;
        rest = later;
    }
    let now_ms = clock.wall_ms();
    let mut tx = db.begin().await?;
    allocations::show(&mut tx, id, now_ms).await?;
    let cases = plan.given.len();
    log(&mut tx, "allocation.plan", id, actor, cases, now_ms).await?;
    tx.commit().await
}

/// Carries a plan out; one that broke off goes on where it was.
///
/// # Errors
/// [`AllocateError`].
pub async fn apply(
    db: &Db,
    clock: &Clock,
    id: AllocationId,
    actor: &str,
) -> Result<Outcome, AllocateError> {
    decided(db, clock, id, Decision::Apply, actor).await
}

/// Undoes an allocation as a whole, except the cases that were dealt again or changed hands since.
///
/// # Errors
/// [`AllocateError`].
pub async fn undo(
    db: &Db,
    clock: &Clock,
    id: AllocationId,
    actor: &str,
) -> Result<Outcome, AllocateError> {
    decided(db, clock, id, Decision::Undo, actor).await
}

/// Decides, and carries out what is decided.
async fn decided(
    db: &Db,
    clock: &Clock,
    id: AllocationId,
    decision: Decision,
    actor: &str,
) -> Result<Outcome, AllocateError> {
    let lock = lock(db).await?;
    let done = decided_locked(db, clock, id, decision, actor).await;
    lock.release().await;
    done
}

async fn decided_locked(
    db: &Db,
    clock: &Clock,
    id: AllocationId,
    decision: Decision,
    actor: &str,
) -> Result<Outcome, AllocateError> {
    let (action, under_way) = match decision {
        Decision::Apply => ("allocation.apply", AllocationState::Running),
        Decision::Undo => ("allocation.undo", AllocationState::Undoing),
    };
    let found = state(db, id).await?;
    let recovered = recover_locked(db, clock).await?;
    let (changed, longest) = if found == under_way {
        // It had broken off, and is done now.
        recovered.get(&id).copied().unwrap_or_default()
    } else {
        let now_ms = clock.wall_ms();
        let mut tx = db.begin().await?;
        if !allocations::decide(&mut tx, id, decision, actor, now_ms).await? {
            tx.rollback().await?;
            return Err(AllocateError::State(state(db, id).await?));
        }
        log(&mut tx, action, id, actor, 0, now_ms).await?;
        tx.commit().await?;
        let done = in_pieces(db, clock, id, decision, actor).await;
        done.map_err(AllocateError::Pending)?
    };
    let undone = decision == Decision::Undo;
    let mut tx = db.read().await?;
    Ok(Outcome {
        changed,
        left: allocations::count(&mut tx, id, undone).await?,
        left_cases: allocations::left(&mut tx, id, undone, NAMED).await?,
        longest_ms: u64::try_from(longest.as_millis()).unwrap_or(u64::MAX),
    })
}

/// Carries out what was decided, to its end; gives how many cases changed hands, and the longest piece.
async fn in_pieces(
    db: &Db,
    clock: &Clock,
    id: AllocationId,
    decision: Decision,
    actor: &str,
) -> Result<(u64, Duration), store::Error> {
    let mut pace = Pace::new(db, clock);
    let mut after = CaseId::new(0);
    let mut changed = 0;
    loop {
        let mut tx = pace.begin().await?;
        let now_ms = clock.wall_ms();
        allocations::fence(&mut tx, id, Some(decision), now_ms).await?;
        let Some(last) = allocations::piece(&mut tx, id, after, pace.rows()).await? else {
            allocations::end(&mut tx, id, decision, now_ms).await?;
            tx.commit().await?;
            return Ok((changed, pace.longest()));
        };
        let piece = Piece {
            id,
            after,
            last,
            actor,
            now_ms,
        };
        changed += match decision {
            Decision::Apply => allocations::apply(&mut tx, &piece).await?,
            Decision::Undo => allocations::undo(&mut tx, &piece).await?,
        };
        pace.commit(tx).await?;
        after = last;
    }
}

/// Looks after allocations that broke off, for the daemon's start; does nothing while somebody allocates. Says how many
/// there were.
///
/// # Errors
/// The database.
pub async fn recover(db: &Db, clock: &Clock) -> Result<usize, store::Error> {
    match db.allocation_lock().await? {
        Some(lock) => {
            let recovered = recover_locked(db, clock).await;
            lock.release().await;
            Ok(recovered?.len())
        }
        None => Ok(0),
    }
}

/// Sweeps what was not shown, and carries out what was decided; gives of each what [`in_pieces`] gives.
async fn recover_locked(
    db: &Db,
    clock: &Clock,
) -> Result<HashMap<AllocationId, (u64, Duration)>, store::Error> {
    let mut tx = db.read().await?;
    let unfinished = allocations::unfinished(&mut tx).await?;
    tx.rollback().await?;
    let mut recovered = HashMap::new();
    for (id, state, actor) in unfinished {
        let done = match state {
            AllocationState::Running => in_pieces(db, clock, id, Decision::Apply, &actor).await?,
            AllocationState::Undoing => in_pieces(db, clock, id, Decision::Undo, &actor).await?,
            _ => {
                sweep(db, clock, id).await?;
                (0, Duration::ZERO)
            }
        };
        recovered.insert(id, done);
    }
    Ok(recovered)
}

/// Takes away a plan that was not shown.
async fn sweep(db: &Db, clock: &Clock, id: AllocationId) -> Result<(), store::Error> {
    let mut pace = Pace::new(db, clock);
    loop {
        let mut tx = pace.begin().await?;
        let more = allocations::sweep_some(&mut tx, id, pace.rows()).await?;
        pace.commit(tx).await?;
        if !more {
            return Ok(());
        }
    }
}

/// The right to allocate, waited for as long as others take.
async fn lock(db: &Db) -> Result<WorkLock, AllocateError> {
    let asked = async {
        loop {
            if let Some(lock) = db.allocation_lock().await? {
                return Ok(lock);
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(lock) => lock,
        Err(_) => Err(AllocateError::Busy),
    }
}

async fn state(db: &Db, id: AllocationId) -> Result<AllocationState, AllocateError> {
    let mut tx = db.read().await?;
    let found = allocations::by_id(&mut tx, id).await?;
    Ok(found.ok_or(AllocateError::NotFound)?.state)
}

async fn log(
    tx: &mut Tx,
    action: &str,
    id: AllocationId,
    actor: &str,
    cases: usize,
    now_ms: i64,
) -> Result<(), store::Error> {
    let detail = match cases {
        0 => serde_json::json!({}),
        cases => serde_json::json!({ "cases": cases }),
    };
    let access = Access {
        at_ms: now_ms,
        actor,
        action,
        object: &id.to_string(),
        client_id: None,
        detail,
    };
    access::log(tx, &access).await
}

/// The cases to be dealt, and the case numbers of a list that are none of them.
async fn selected(
    tx: &mut Tx,
    request: &Request,
    viewer: Option<&User>,
) -> Result<(Vec<Selected>, Vec<String>), AllocateError> {
    let mut filter = request.cases.clone();
    let state = filter.state.unwrap_or(CaseState::Open);
    filter.state = Some(state);
    if request.references.is_empty() && request.client.is_empty() {
        return Ok((selection::select(tx, viewer, &filter).await?, Vec::new()));
    }
    let only_state = CaseFilter {
        state: Some(state),
        ..CaseFilter::default()
    };
    if filter != only_state || request.references.is_empty() || request.client.is_empty() {
        return Err(AllocateError::List);
    }
    let client = store::clients::by_code(tx, &request.client).await?;
    let client = client
        .filter(|client| viewer.is_none_or(|viewer| viewer.scope.includes(client.id)))
        .ok_or(AllocateError::NoClient)?;
    let (found, mut left_out) =
        selection::by_references(tx, client.id, &request.references).await?;
    let (fit, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.state == state);
    left_out.extend(others.into_iter().map(|one| one.reference));
    Ok((fit, left_out))
}

/// Reads everything else that a plan looks at.
async fn job(
    tx: &mut Tx,
    request: &Request,
    selected: Vec<Selected>,
) -> Result<Job, AllocateError> {
    if selected.is_empty() {
        return Err(AllocateError::NoCases);
    }
    let currencies: std::collections::BTreeSet<&str> =
        selected.iter().map(|one| one.currency.as_str()).collect();
    if currencies.len() > 1 {
        let named: Vec<_> = currencies.into_iter().collect();
        return Err(AllocateError::Currencies(named.join(", ")));
    }
    let members = store::teams::members(tx).await?;
    let owners = owners(tx, request, &members).await?;
    let holdings = selection::holdings(tx).await?;
    let dealt: HashSet<CaseId> = selected.iter().map(|one| one.case).collect();
    let mut regions = BTreeMap::new();
    for (region, codes) in &request.regions {
        let mut agents = Vec::new();
        for code in codes {
            let member = agent(&members, code)?;
            if !owners.iter().any(|owner| owner.agent == Some(member.agent)) {
                return Err(AllocateError::Region(code.clone()));
            }
            agents.push(member.agent);
        }
        regions.insert(region.clone(), agents);
    }
    let receivers = owners
        .into_iter()
        .map(|owner| receiver(owner, &holdings, &dealt))
        .collect();
    Ok(Job {
        method: request.method,
        items: items(selected, &holdings),
        receivers,
        regions,
    })
}

fn items(selected: Vec<Selected>, holdings: &[Holding]) -> Vec<Item> {
    // Who got a case of the person last.
    let mut last: HashMap<i64, (i64, AgentId)> = HashMap::new();
    for holding in holdings {
        if let Some(agent) = holding.agent {
            let known = last.entry(holding.person).or_insert((i64::MIN, agent));
            if holding.since_ms >= known.0 {
                *known = (holding.since_ms, agent);
            }
        }
    }
    selected
        .into_iter()
        .map(|one| Item {
            case: one.case,
            person: one.person,
            amount_e4: one.balance_e4,
            region: one.region,
            now: Owner {
                team: one.team,
                agent: one.agent,
            },
            previous: last.get(&one.person).map(|(_, agent)| *agent),
        })
        .collect()
}

/// What somebody holds besides the cases that are dealt.
fn receiver(owner: Owner, holdings: &[Holding], dealt: &HashSet<CaseId>) -> Receiver {
    let mut persons = HashSet::new();
    let mut holds_e4 = 0_i64;
    for holding in holdings {
        let his = match owner.agent {
            Some(agent) => holding.agent == Some(agent),
            None => holding.team == owner.team,
        };
        if his && holding.worked && !dealt.contains(&holding.case) {
            persons.insert(holding.person);
            holds_e4 = holds_e4.saturating_add(holding.balance_e4.max(0));
        }
    }
    Receiver {
        owner,
        holds_households: i64::try_from(persons.len()).unwrap_or(i64::MAX),
        holds_e4,
    }
}

fn agent<'a>(members: &'a [Member], code: &str) -> Result<&'a Member, AllocateError> {
    let found = members.iter().find(|m| m.code == code && m.active);
    found.ok_or_else(|| AllocateError::Unknown {
        what: "agent",
        code: code.to_owned(),
    })
}

/// The agents that are named, then those of the teams that are named, or these teams as a whole.
async fn owners(
    tx: &mut Tx,
    request: &Request,
    members: &[Member],
) -> Result<Vec<Owner>, AllocateError> {
    let mut owners = Vec::new();
    for code in &request.agents {
        let member = agent(members, code)?;
        owners.push(Owner {
            team: member.team,
            agent: Some(member.agent),
        });
    }
    for code in &request.teams {
        let team: TeamId = store::teams::by_code(tx, code)
            .await?
            .ok_or_else(|| AllocateError::Unknown {
                what: "team",
                code: code.clone(),
            })?
            .id;
        if request.to_teams {
            owners.push(Owner {
                team: Some(team),
                agent: None,
            });
            continue;
        }
        let of_team = members.iter().filter(|m| m.active && m.team == Some(team));
        owners.extend(of_team.map(|m| Owner {
            team: m.team,
            agent: Some(m.agent),
        }));
    }
    Ok(owners)
}
