mod deliveries;
mod refusals;
mod reports;
mod sessions;
