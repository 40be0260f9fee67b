//! Allocation bound to the database: reads the cases and who may get them, has [`super::allocation`] plan, writes the plan,
//! carries it out in pieces, undoes it as a whole.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    allocation::{self, Item, Job, Method, Owner, PlanError, Receiver},
    pieces::Pieces,
};
use crate::{
    clock::Clock,
    ids::{AgentId, AllocationId, CaseId, TeamId},
    policy::CaseState,
    store::{
        self, Db, Tx,
        access::{self, Access},
        allocations::{self, AllocationState, Piece, Total},
        selection::{self, CaseFilter, Holding, Selected},
        teams::Member,
        users::User,
    },
};

/// References of those left as they were that are named; the rest is counted.
const NAMED: u32 = 50;

/// What to allocate, among whom and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Which cases; only open ones where it does not say.
    #[serde(default)]
    pub cases: CaseFilter,
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
    /// Nothing to allocate.
    #[error("no case is selected")]
    NoCases,
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
    /// The database; what was done stays, asking again does the rest.
    #[error(transparent)]
    Store(#[from] store::Error),
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

/// Plans, writes the plan, and gives its id and what each receiver would get. `viewer` `None`: the command line.
///
/// # Errors
/// [`AllocateError`].
pub async fn plan(
    db: &Db,
    clock: &Clock,
    request: &Request,
    viewer: Option<&User>,
    actor: &str,
) -> Result<(AllocationId, Vec<Total>), AllocateError> {
    let mut tx = db.read().await?;
    let job = job(&mut tx, request, viewer).await?;
    tx.rollback().await?;
    let plan = tokio::task::spawn_blocking(move || allocation::plan(&job))
        .await
        .map_err(|_| PlanError::Nobody)??;
    let now_ms = clock.wall_ms();
    let query = serde_json::to_string(request)
        .map_err(|_| store::Error::unknown("write an allocation", "allocations.query"))?;
    let mut tx = db.begin().await?;
    let id = allocations::insert(&mut tx, request.method.as_str(), &query, actor, now_ms).await?;
    log(
        &mut tx,
        "allocation.plan",
        id,
        actor,
        plan.given.len(),
        now_ms,
    )
    .await?;
    tx.commit().await?;
    let mut pieces = Pieces::default();
    let mut rest = plan.given.as_slice();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at((pieces.size() as usize).min(rest.len()));
        let mut tx = db.begin().await?;
        let began = clock.monotonic();
        allocations::insert_items(&mut tx, id, piece).await?;
        tx.commit().await?;
        let took = clock.monotonic().saturating_duration_since(began);
        pieces.took(u32::try_from(piece.len()).unwrap_or(u32::MAX), took);
        rest = later;
    }
    let mut tx = db.read().await?;
    let totals = allocations::totals(&mut tx, id).await?;
    Ok((id, totals))
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
    let now_ms = clock.wall_ms();
    let state = state(db, id).await?;
    let mut tx = db.begin().await?;
    match state {
        AllocationState::Planned => {
            let (from, to) = (AllocationState::Planned, AllocationState::Running);
            if !allocations::set_state(&mut tx, id, from, to, now_ms).await? {
                return Err(AllocateError::State(AllocationState::Running));
            }
        }
        AllocationState::Running => {}
        over => return Err(AllocateError::State(over)),
    }
    log(&mut tx, "allocation.apply", id, actor, 0, now_ms).await?;
    tx.commit().await?;
    let mut outcome = in_pieces(db, clock, id, actor, Direction::Apply).await?;
    let mut tx = db.begin().await?;
    let (from, to) = (AllocationState::Running, AllocationState::Done);
    allocations::set_state(&mut tx, id, from, to, now_ms).await?;
    tx.commit().await?;
    let mut tx = db.read().await?;
    outcome.left = allocations::count(&mut tx, id, false).await?;
    outcome.left_cases = allocations::left(&mut tx, id, false, NAMED).await?;
    Ok(outcome)
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
    let now_ms = clock.wall_ms();
    match state(db, id).await? {
        AllocationState::Done | AllocationState::Running => {}
        other => return Err(AllocateError::State(other)),
    }
    let mut tx = db.begin().await?;
    log(&mut tx, "allocation.undo", id, actor, 0, now_ms).await?;
    tx.commit().await?;
    let mut outcome = in_pieces(db, clock, id, actor, Direction::Undo).await?;
    let mut tx = db.begin().await?;
    for from in [AllocationState::Done, AllocationState::Running] {
        allocations::set_state(&mut tx, id, from, AllocationState::Undone, now_ms).await?;
    }
    tx.commit().await?;
    let mut tx = db.read().await?;
    outcome.left = allocations::count(&mut tx, id, true).await?;
    outcome.left_cases = allocations::left(&mut tx, id, true, NAMED).await?;
    Ok(outcome)
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Apply,
    Undo,
}

async fn in_pieces(
    db: &Db,
    clock: &Clock,
    id: AllocationId,
    actor: &str,
    direction: Direction,
) -> Result<Outcome, store::Error> {
    let mut pieces = Pieces::default();
    let mut after = CaseId::new(0);
    let mut changed = 0;
    loop {
        let mut tx = db.begin().await?;
        let began = clock.monotonic();
        let Some((last, rows)) = allocations::piece(&mut tx, id, after, pieces.size()).await?
        else {
            break;
        };
        let piece = Piece {
            id,
            after,
            last,
            actor,
            now_ms: clock.wall_ms(),
        };
        changed += match direction {
            Direction::Apply => allocations::apply(&mut tx, &piece).await?,
            Direction::Undo => allocations::undo(&mut tx, &piece).await?,
        };
        tx.commit().await?;
        pieces.took(rows, clock.monotonic().saturating_duration_since(began));
        after = last;
    }
    Ok(Outcome {
        changed,
        left: 0,
        left_cases: Vec::new(),
        longest_ms: u64::try_from(pieces.longest().as_millis()).unwrap_or(u64::MAX),
    })
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

/// Reads everything a plan looks at.
async fn job(tx: &mut Tx, request: &Request, viewer: Option<&User>) -> Result<Job, AllocateError> {
    let mut filter = request.cases.clone();
    filter.state = Some(filter.state.unwrap_or(CaseState::Open));
    let selected = selection::select(tx, viewer, &filter).await?;
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
    let receivers = owners
        .into_iter()
        .map(|owner| receiver(owner, &holdings, &dealt))
        .collect();
    let mut regions = BTreeMap::new();
    for (region, codes) in &request.regions {
        let agents: Result<Vec<_>, _> = codes.iter().map(|code| agent(&members, code)).collect();
        let agents = agents?.into_iter().map(|member| member.agent).collect();
        regions.insert(region.clone(), agents);
    }
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
