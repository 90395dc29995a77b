//! Numbers of things within one snapshot. A number means nothing in another generation: sessions keep names and keys, and
//! resolve again after a swap.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) u32);

        impl $name {
            /// Position in the sorted (for rules: written) order of its kind, from zero.
            pub fn number(self) -> u32 {
                self.0
            }
        }
    };
}

id!(
    /// An identity; numbered in name order.
    IdentityId
);
id!(
    /// A group; numbered in name order.
    GroupId
);
id!(
    /// A grant; numbered in name order, so the smaller number is the smaller name.
    GrantId
);
id!(
    /// A deny rule; numbered in name order.
    DenyId
);
id!(
    /// A cluster; numbered in name order.
    ClusterId
);
id!(
    /// A provider; numbered in name order.
    ProviderId
);
id!(
    /// An authentication rule; numbered in written order.
    RuleId
);
