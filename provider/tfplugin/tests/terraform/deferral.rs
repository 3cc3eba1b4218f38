//! Deferral, which no command of a released engine takes: what its user reads instead, and how the work goes on.
//!
//! Terraform's experimental builds take deferred answers under `-allow-deferral`, and so do Stacks, which run on a service. What a provider
//! says to those is shown over gRPC in `tests/grpc_deferral.rs`.

use std::fs;

use crate::matrix::{Feature, Story};
use crate::rig::{Rig, flat};

pub(crate) const STORIES: &[Story] = &[Story::new(
    "what_would_wait_is_refused_in_words",
    Feature::Deferral,
    what_would_wait_is_refused_in_words,
)
.without(what_would_wait_is_refused_in_words)];

/// `a` needs the mark `b`, which does not exist.
const WAITING: &str =
    "resource \"toy_mark\" \"a\" {\n  name      = \"a\"\n  waits_for = \"b\"\n}\n";

fn what_would_wait_is_refused_in_words(rig: &Rig) {
    rig.write(WAITING);
    // No flag makes this engine take it.
    let asked = rig.run(&["plan", "-input=false", "-allow-deferral"]);
    let asked = flat(&asked.failed());
    assert!(asked.contains("allow-deferral"), "{asked}");
    // The provider was told so, and says what to do.
    let refused = flat(&rig.plan(WAITING).failed());
    for said in [
        "Error: Not known yet",
        "something that it needs does not exist yet",
        "this host cannot defer it to a later run",
        "Hint: apply what it depends on first",
    ] {
        assert!(refused.contains(said), "{refused}");
    }
    fs::write(rig.path("things/main.b.mark"), "").unwrap();
    let _ = rig.apply(WAITING).ok();
    rig.assert_plan_is_empty();
}
