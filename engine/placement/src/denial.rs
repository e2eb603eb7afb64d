//! Why a fleet object does not reach a cluster that it selects.

/// A refusal for one cluster. The text names the field and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The cluster's access list does not name the workspace.
    #[error("cluster {cluster} gives workspace {workspace} no access; add it to spec.access of the cluster")]
    NoAccess {
        /// The cluster.
        cluster: String,
        /// The workspace.
        workspace: String,
    },
    /// The cluster is not accepted.
    #[error("cluster {cluster} is not accepted; approve it first")]
    NotAccepted {
        /// The cluster.
        cluster: String,
    },
    /// A variable that the cluster does not have.
    #[error("{field} uses ${{{variable}}}, which cluster {cluster} does not have")]
    UnknownVariable {
        /// Where.
        field: String,
        /// Which, without `${}`.
        variable: String,
        /// The cluster.
        cluster: String,
    },
    /// An override does not fit the template.
    #[error("spec.overrides[{index}] cannot be applied: {message}")]
    Override {
        /// Which override.
        index: usize,
        /// What went wrong.
        message: String,
    },
    /// A field that a template may not set.
    #[error("{field} must not be set: {why}")]
    ForbiddenField {
        /// Which field.
        field: String,
        /// Why not.
        why: &'static str,
    },
    /// A namespace outside of the grant.
    #[error("{field} is {namespace:?}, but workspace {workspace} may use only {allowed} here")]
    OutsideGrant {
        /// Which field.
        field: String,
        /// The namespace it names.
        namespace: String,
        /// The workspace.
        workspace: String,
        /// The namespaces of the grant.
        allowed: String,
    },
    /// Another service account than that of the grant.
    #[error("{field} is {found:?}, but workspace {workspace} acts as {granted:?} here")]
    ServiceAccount {
        /// Which field.
        field: String,
        /// The account it names.
        found: String,
        /// The workspace.
        workspace: String,
        /// The account of the grant.
        granted: String,
    },
    /// A reference to another namespace by someone who is not an admin.
    #[error("{field} refers to namespace {namespace:?}; only an admin of the cluster may refer to other namespaces")]
    CrossNamespace {
        /// Which field.
        field: String,
        /// The namespace it names.
        namespace: String,
    },
    /// A label or annotation that only the hub writes.
    #[error("{field} must not contain {key:?}: only the hub writes it")]
    ForgedOwner {
        /// Which field.
        field: String,
        /// The label or annotation.
        key: String,
    },
    /// A field of the wrong type.
    #[error("{field} must be {expected}")]
    WrongType {
        /// Which field.
        field: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The result is no valid object.
    #[error("{field}: {message}")]
    Invalid {
        /// Which part of the fleet object it comes from.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// Something that this version cannot do for such a cluster.
    #[error("{field}: {message}")]
    Unsupported {
        /// Which field.
        field: String,
        /// What cannot be done, and what can be done instead.
        message: String,
    },
    /// The object is too large for the link.
    #[error("the objects for this cluster take {bytes} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// What they take.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Someone else owns an object of that name.
    #[error("{object} already belongs to {owner}")]
    Conflict {
        /// The object.
        object: String,
        /// Its owner.
        owner: String,
    },
}

impl Denial {
    /// A reason for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Denial::Conflict { .. } => "Conflict",
            Denial::NotAccepted { .. } => "NotAccepted",
            Denial::UnknownVariable { .. }
            | Denial::Override { .. }
            | Denial::WrongType { .. }
            | Denial::Invalid { .. }
            | Denial::TooLarge { .. } => "InvalidSpec",
            Denial::Unsupported { .. } => "NotEnforced",
            Denial::NoAccess { .. }
            | Denial::ForbiddenField { .. }
            | Denial::OutsideGrant { .. }
            | Denial::ServiceAccount { .. }
            | Denial::CrossNamespace { .. }
            | Denial::ForgedOwner { .. } => "Denied",
        }
    }

    /// Whether what was placed before has to go: the workspace has no right to be there any more.
    ///
    /// Every other denial leaves the last good state alone; a typo must not tear anything down.
    pub fn withdraws(&self) -> bool {
        matches!(self, Denial::NoAccess { .. })
    }
}
