mod deliveries;
mod lost;
mod quarantine;
mod refusals;
mod reports;
mod sessions;
