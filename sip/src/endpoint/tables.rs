//! What commands and [`dispatch`](super::dispatch) share: finding a part, setting its timer, forgetting it.

use std::time::Instant;

use super::{Done, Endpoint};
use crate::command::CommandError;
use crate::core::Core;
use crate::event::{AccountHandle, LegHandle, RequestHandle};
use crate::method::StatusCode;
use crate::registration::Registration;
use crate::schedule::Due;
use crate::session::Leg;
use crate::transaction::table::ServerOwner;

impl Endpoint {
    pub(super) fn insert_leg(&mut self, leg: Leg) -> LegHandle {
        let handle = leg.handle;
        let tag = leg.local.tag().unwrap_or_default().to_owned();
        self.dialogs.insert((leg.call_id.clone(), tag), handle);
        self.core.schedule.set(Due::Leg(handle), leg.next_timeout());
        self.legs.insert(handle, leg);
        handle
    }

    /// Runs a command on a leg that is not over, then sets its timer.
    pub(super) fn with_leg(
        &mut self,
        handle: LegHandle,
        run: impl FnOnce(&mut Leg, &mut Core) -> Done,
    ) -> Done {
        let leg = self
            .legs
            .get_mut(&handle)
            .filter(|leg| !leg.is_released())
            .ok_or(CommandError::Gone)?;
        let done = run(leg, &mut self.core);
        self.after_leg(handle);
        done
    }

    /// Sets the timer of a leg that was touched, or forgets it with its last transaction.
    pub(super) fn after_leg(&mut self, handle: LegHandle) {
        let Some(leg) = self.legs.get(&handle) else {
            return;
        };
        let due = if leg.is_released() {
            None
        } else {
            leg.next_timeout()
        };
        self.core.schedule.set(Due::Leg(handle), due);
        if leg.is_released() && !self.core.leg_transactions.contains_key(&handle) {
            let key = (
                leg.call_id.clone(),
                leg.local.tag().unwrap_or_default().to_owned(),
            );
            self.dialogs.remove(&key);
            self.legs.remove(&handle);
        }
    }

    pub(super) fn with_account(
        &mut self,
        handle: AccountHandle,
        run: impl FnOnce(&mut Registration, &mut Core) -> Done,
    ) -> Done {
        let account = self.accounts.get_mut(&handle).ok_or(CommandError::Gone)?;
        let done = run(account, &mut self.core);
        self.after_account(handle);
        done
    }

    pub(super) fn after_account(&mut self, handle: AccountHandle) {
        let Some(account) = self.accounts.get(&handle) else {
            return;
        };
        self.core
            .schedule
            .set(Due::Account(handle), account.next_timeout());
        if account.is_over() {
            self.accounts.remove(&handle);
        }
    }

    pub(super) fn answer_register(
        &mut self,
        now: Instant,
        request: RequestHandle,
        status: StatusCode,
        headers: &[(&str, &str)],
    ) -> Done {
        let transaction = self.requests.remove(&request).ok_or(CommandError::Gone)?;
        self.core.set_server_owner(transaction, ServerOwner::Nobody);
        let mut response = self
            .core
            .response(transaction, status)
            .ok_or(CommandError::Gone)?;
        for (name, value) in headers {
            response.headers.push(name, *value);
        }
        self.core.respond(now, transaction, response);
        Ok(())
    }

    /// Forgets what has ended.
    pub(super) fn tidy(&mut self) {
        while let Some(handle) = self.core.idle_legs.pop() {
            self.after_leg(handle);
        }
        self.leftovers.retain(|handle, leftover| {
            if leftover.is_over() {
                self.core.schedule.set(Due::Leftover(*handle), None);
                self.leftover_dialogs
                    .remove(&(leftover.call_id.clone(), leftover.local_tag.clone()));
            }
            !leftover.is_over()
        });
    }
}
