//! Who may call what: the role stands in the client certificate's organisation (O).

use metal_proto::metal::v1::ErrorDetail;
use tonic::Request;

use super::status::{ApiError, Story};

/// A certificate's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything.
    Admin,
    /// Everything but what hands out cluster credentials.
    Operator,
    /// Reads and soft holds.
    Planner,
    /// Another bootd: its version only.
    Site,
}

/// What an rpc does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Tells the version.
    Greet,
    /// Reads, or holds softly.
    Read,
    /// Changes what is stored.
    Write,
    /// Hands out credentials.
    Credentials,
}

impl Role {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "admin" => Some(Self::Admin),
            "operator" => Some(Self::Operator),
            "planner" => Some(Self::Planner),
            "site" => Some(Self::Site),
            _ => None,
        }
    }

    /// The table.
    pub(super) fn may(self, need: Need) -> bool {
        match (self, need) {
            (Self::Admin, Need::Greet | Need::Read | Need::Write | Need::Credentials)
            | (Self::Operator, Need::Greet | Need::Read | Need::Write)
            | (Self::Planner, Need::Greet | Need::Read)
            | (Self::Site, Need::Greet) => true,
            (Self::Operator, Need::Credentials)
            | (Self::Planner, Need::Write | Need::Credentials)
            | (Self::Site, Need::Read | Need::Write | Need::Credentials) => false,
        }
    }
}

/// Refuses a caller whose role may not.
pub(super) fn allow<T>(request: &Request<T>, need: Need) -> Result<(), ApiError> {
    match role(request) {
        Some(role) if role.may(need) => Ok(()),
        Some(role) => Err(ApiError::Denied(denied(&format!(
            "a certificate of role {role:?} may not do this"
        )))),
        None => Err(ApiError::Denied(denied(
            "the client certificate names no role in its organisation",
        ))),
    }
}

fn denied(why: &str) -> ErrorDetail {
    Story::new("not-allowed", "Not allowed")
        .detail(why.to_lowercase())
        .hint("use a bundle of a role that may: `bootd init` wrote admin.bundle.")
        .done()
}

fn role<T>(request: &Request<T>) -> Option<Role> {
    let certificates = request.peer_certs()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(certificates.first()?).ok()?;
    let organisation = certificate.subject().iter_organization().next()?;
    Role::parse(organisation.as_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let mut table = String::new();
        for role in [Role::Admin, Role::Operator, Role::Planner, Role::Site] {
            let may: Vec<String> = [Need::Greet, Need::Read, Need::Write, Need::Credentials]
                .into_iter()
                .filter(|n| role.may(*n))
                .map(|n| format!("{n:?}"))
                .collect();
            table.push_str(&format!("{role:?}: {}\n", may.join(" ")));
        }
        insta::assert_snapshot!(table, @r"
        Admin: Greet Read Write Credentials
        Operator: Greet Read Write
        Planner: Greet Read
        Site: Greet
        ");
    }
}
