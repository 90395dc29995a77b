//! Rules of revocations: of a provider that issues tokens, and of something.

use super::{ModelFault, Object, Scope, Why, provider_named, require, value};
use crate::model::{Model, Provider};

pub(super) fn check(model: &Model, found: &mut Vec<ModelFault>) {
    for (name, revocation) in &model.revocations {
        let object = || Object::Revocation(name.clone());
        let mut scope = Scope::new(found, &object);
        scope.whole(value::object_name(name));
        scope.key(
            "provider",
            provider_named(model, &revocation.provider).and_then(|provider| {
                require(matches!(provider, Provider::Tokens(_)), || {
                    Why::new(format!("provider `{}` issues no tokens", revocation.provider))
                })
            }),
        );
        let lists = [&revocation.token_ids, &revocation.subjects, &revocation.key_ids];
        let something = lists.iter().any(|list| !list.is_empty()) || revocation.issued_before.is_some();
        scope.whole(require(something, || {
            Why::new("it revokes nothing").help("name `token_ids`, `subjects`, `key_ids`, or say `issued_before`")
        }));
    }
}
