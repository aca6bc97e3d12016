mod deliveries;
mod quarantine;
mod refusals;
mod reports;
mod sessions;
