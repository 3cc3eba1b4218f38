//! The crate against Terraform's own rules: random schemas, configurations, states and resources, through the protocol's service.
//!
//! The host's half ([`host`], [`rules`]) shares no code with the crate, so that a mistake of the engine or the codec cannot hide in the
//! test. 3,000 cases by default; `METAL_FULL=1` runs 100,000, `PROPTEST_CASES` any number. Failing cases are kept beside this file
//! ([`found`] has those that were mistakes of the engine, with their names).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the host's rules name the few cases that differ"
)]

mod choices;
mod found;
mod host;
mod rules;
mod session;
mod subject;
mod values;

use std::sync::Arc;

use proptest::prelude::*;

use choices::Choices;
use host::Val;
use session::{Action, Session};
use subject::{Habits, Subject};
use values::When;

fn cases() -> u32 {
    let wished = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok());
    let full = std::env::var("METAL_FULL").is_ok_and(|v| v == "1");
    wished.unwrap_or(if full { 100_000 } else { 3_000 })
}

/// Everything that a host does with one resource.
async fn story(bytes: &[u8]) -> Result<(), String> {
    let mut c = Choices::new(bytes);
    let schema = subject::schema(&mut c);
    let habits = Habits::new(&mut c);
    let session = Session::new(Arc::new(Subject { schema, habits })).await?;
    let first = values::config(&session.attrs, &mut c, When::Plan);
    let then = values::resolved(&session.attrs, &first, &mut c);
    let made = lived(&session, &Val::Null, &first, &then).await?;
    let prior = match made {
        Some(state) if c.pick(3) > 0 => state,
        // What a refresh brought has nothing to do with what was applied.
        _ => values::state(&session.attrs, &mut c),
    };
    let (second, then) = if c.pick(2) == 0 {
        let second = values::config(&session.attrs, &mut c, When::Plan);
        let then = values::resolved(&session.attrs, &second, &mut c);
        (second, then)
    } else {
        // The same in other words, of which a part is open when it is planned first.
        let then = values::rewritten(&then, &mut c);
        (values::opened(&session.attrs, &then, &mut c), then)
    };
    let changed = lived(&session, &prior, &second, &then).await?;
    session.import().await?;
    session.delete(&changed.unwrap_or(prior)).await
}

/// The plan of what is known first, the plan of what the configuration is `then`, apply, refresh, and a plan that has nothing to do.
/// The state, where one was made.
async fn lived(s: &Session, prior: &Val, first: &Val, then: &Val) -> Result<Option<Val>, String> {
    let Some(plan) = s.plan(prior, first).await? else {
        return Ok(None);
    };
    let base = if plan.action == Action::Replace {
        &Val::Null
    } else {
        prior
    };
    let Some(last) = s.plan(base, then).await? else {
        return Ok(None);
    };
    s.follows(&plan, &last)?;
    if last.action == Action::Nothing {
        return Ok(Some(prior.clone()));
    }
    let Some(state) = s.apply(base, &last, then).await? else {
        return Ok(None);
    };
    s.stored(&state).await?;
    if s.quiet() {
        let again = s.plan(&state, then).await?;
        if again.as_ref().is_none_or(|p| p.action != Action::Nothing) {
            return Err(format!(
                "a second plan is not empty: {again:?}\nof state {state:?}\nconfig {then:?}"
            ));
        }
    }
    Ok(Some(state))
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
}

/// The case's end, with everything that is needed to understand it.
fn check(bytes: &[u8]) -> Result<(), String> {
    RUNTIME.with(|r| r.block_on(story(bytes))).map_err(|why| {
        let mut c = Choices::new(bytes);
        let schema = subject::schema(&mut c);
        let habits = Habits::new(&mut c);
        format!(
            "{why}\n{:?}\n{habits:?}\nbytes {bytes:?}",
            schema.attributes()
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn terraform_accepts_every_answer(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes).map_err(TestCaseError::fail)?;
    }
}
