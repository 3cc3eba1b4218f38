//! Do this provider and that bootd understand each other? Pure; asked once per process, before the first call.
//!
//! What counts is what bootd offers: every feature below. Versions only say who is the older one when something is missing.

/// What this provider needs bootd to offer.
const NEEDED: [&str; 1] = ["v1"];

/// This provider's version.
pub(crate) const OURS: &str = env!("CARGO_PKG_VERSION");

/// Who must be upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// bootd.
    Bootd,
    /// The provider.
    Provider,
}

/// Who is too old for the other; none where all is well.
pub(crate) fn judge(ours: &str, theirs: &str, offered: &[String]) -> Option<Older> {
    if NEEDED.iter().all(|n| offered.iter().any(|o| o == n)) {
        return None;
    }
    Some(if parts(theirs) > parts(ours) {
        Older::Provider
    } else {
        Older::Bootd
    })
}

/// `1.2.3-rc.1` as numbers; what is no number counts as nothing.
fn parts(version: &str) -> Vec<u64> {
    let body = version.strip_prefix('v').unwrap_or(version);
    let core = body.split(['-', '+']).next().unwrap_or_default();
    core.split('.')
        .map(|p| p.parse().unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_count_and_versions_tell_who_is_old() {
        let all = |f: &[&str]| f.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>();
        let check = |theirs: &str, offered: &[&str], want| {
            assert_eq!(judge("1.4.0", theirs, &all(offered)), want, "{theirs}");
        };
        check("0.9.0", &["v1"], None);
        check("9.0.0", &["v2", "v1"], None);
        check("1.3.9", &[], Some(Older::Bootd));
        check("1.4.0", &["v0"], Some(Older::Bootd));
        check("1.10.0", &["v2"], Some(Older::Provider));
        check("v2.0.0-rc.1", &["v2"], Some(Older::Provider));
        check("nonsense", &[], Some(Older::Bootd));
    }
}
