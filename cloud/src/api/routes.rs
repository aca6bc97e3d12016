//! Every route, once.

use serde_json::Value;

use super::conventions::{ApiError, Input, Verbs};
use super::resources::{
    access_grants, access_groups, access_methods, action_attempts, bridges, credentials, encoders, entrances, events,
    spaces, systems, user_identities, users,
};
use crate::model::{Scope, Work};
use Handler::{Read, Write};

type Answer = Result<Value, ApiError>;

/// What answers a route: a reader of one committed state, or a writer in a transaction.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// Changes nothing.
    Read(fn(&Scope<'_>, &Input) -> Answer),
    /// May change something.
    Write(fn(&Work<'_>, &Input) -> Answer),
}

/// One route.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) verbs: Verbs,
    pub(super) handler: Handler,
}

const fn read(path: &'static str, handler: fn(&Scope<'_>, &Input) -> Answer) -> Route {
    Route { path, verbs: Verbs::Read, handler: Read(handler) }
}

const fn write(path: &'static str, verbs: Verbs, handler: fn(&Work<'_>, &Input) -> Answer) -> Route {
    Route { path, verbs, handler: Write(handler) }
}

/// The table.
pub(super) static ROUTES: &[Route] = &[
    read("/workspaces/get", bridges::workspace),
    read("/bridges/get", bridges::get),
    read("/bridges/list", bridges::list),
    read("/acs/systems/get", systems::get),
    read("/acs/systems/list", systems::list),
    read("/acs/entrances/get", entrances::get),
    read("/acs/entrances/list", entrances::list),
    write("/acs/entrances/unlock", Verbs::Act, entrances::unlock),
    read("/acs/encoders/get", encoders::get),
    read("/acs/encoders/list", encoders::list),
    write("/acs/encoders/encode_credential", Verbs::Act, encoders::encode_credential),
    write("/acs/encoders/scan_credential", Verbs::Act, encoders::scan_credential),
    write("/acs/encoders/scan_to_assign_credential", Verbs::Act, encoders::scan_to_assign_credential),
    write("/acs/users/create", Verbs::Act, users::create),
    read("/acs/users/get", users::get),
    read("/acs/users/list", users::list),
    read("/acs/users/unmanaged/get", users::get_unmanaged),
    read("/acs/users/unmanaged/list", users::list_unmanaged),
    write("/acs/users/update", Verbs::Update, users::update),
    write("/acs/users/delete", Verbs::Remove, users::delete),
    write("/acs/users/suspend", Verbs::Act, users::suspend),
    write("/acs/users/unsuspend", Verbs::Act, users::unsuspend),
    write("/acs/users/add_to_access_group", Verbs::Add, users::add_to_access_group),
    write("/acs/users/remove_from_access_group", Verbs::Remove, users::remove_from_access_group),
    read("/acs/users/list_accessible_entrances", users::list_accessible_entrances),
    write("/acs/users/revoke_access_to_all_entrances", Verbs::Act, users::revoke_access_to_all_entrances),
    read("/acs/access_groups/get", access_groups::get),
    read("/acs/access_groups/list", access_groups::list),
    read("/acs/access_groups/unmanaged/get", access_groups::get_unmanaged),
    read("/acs/access_groups/unmanaged/list", access_groups::list_unmanaged),
    write("/acs/access_groups/add_user", Verbs::Add, access_groups::add_user),
    write("/acs/access_groups/remove_user", Verbs::Remove, access_groups::remove_user),
    read("/acs/access_groups/list_users", access_groups::list_users),
    read("/acs/access_groups/list_accessible_entrances", access_groups::list_accessible_entrances),
    write("/acs/credentials/create", Verbs::Act, credentials::create),
    read("/acs/credentials/get", credentials::get),
    read("/acs/credentials/list", credentials::list),
    write("/acs/credentials/update", Verbs::Update, credentials::update),
    write("/acs/credentials/delete", Verbs::Remove, credentials::delete),
    write("/acs/credentials/assign", Verbs::Update, credentials::assign),
    write("/acs/credentials/unassign", Verbs::Update, credentials::unassign),
    read("/acs/credentials/list_accessible_entrances", credentials::list_accessible_entrances),
    write("/spaces/create", Verbs::Act, spaces::create),
    read("/spaces/get", spaces::get),
    read("/spaces/list", spaces::list),
    write("/spaces/update", Verbs::Update, spaces::update),
    write("/spaces/delete", Verbs::Remove, spaces::delete),
    write("/spaces/add_acs_entrances", Verbs::Add, spaces::add_acs_entrances),
    write("/spaces/remove_acs_entrances", Verbs::Remove, spaces::remove_acs_entrances),
    write("/user_identities/create", Verbs::Act, user_identities::create),
    read("/user_identities/get", user_identities::get),
    read("/user_identities/list", user_identities::list),
    write("/user_identities/update", Verbs::Update, user_identities::update),
    write("/user_identities/delete", Verbs::Remove, user_identities::delete),
    write("/access_grants/create", Verbs::Act, access_grants::create),
    read("/access_grants/get", access_grants::get),
    read("/access_grants/list", access_grants::list),
    write("/access_grants/update", Verbs::Update, access_grants::update),
    write("/access_grants/delete", Verbs::Remove, access_grants::delete),
    read("/access_methods/get", access_methods::get),
    read("/access_methods/list", access_methods::list),
    write("/access_methods/delete", Verbs::Remove, access_methods::delete),
    write("/access_methods/encode", Verbs::Act, access_methods::encode),
    write("/access_methods/assign_card", Verbs::Act, access_methods::assign_card),
    write("/access_methods/unlock_door", Verbs::Act, access_methods::unlock_door),
    read("/action_attempts/get", action_attempts::get),
    read("/action_attempts/list", action_attempts::list),
    write("/action_attempts/cancel", Verbs::Act, action_attempts::cancel),
    read("/events/get", events::get),
    read("/events/list", events::list),
];
