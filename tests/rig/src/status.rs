//! What `quaymaster status --json` promises to its users, read as they read it.

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    pub stack: String,
    pub file: FileStatus,
    pub services: Vec<ServiceStatus>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct FileStatus {
    pub valid: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ServiceStatus {
    pub name: String,
    pub state: String,
    pub reason: Option<String>,
    pub strategy: Option<String>,
    pub active_slot: Option<String>,
    pub image: Option<String>,
    pub digest: Option<String>,
    pub release: Option<String>,
    pub last_good: Option<String>,
    #[serde(default)]
    pub waiting_on: Vec<String>,
    pub slots: Slots,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Slots {
    pub blue: Option<SlotStatus>,
    pub green: Option<SlotStatus>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SlotStatus {
    pub image: Option<String>,
    pub release: Option<String>,
    pub ready: u32,
    pub replicas: u32,
}

impl Status {
    /// Returns a service; panics if the report does not have it.
    #[track_caller]
    pub fn service(&self, name: &str) -> &ServiceStatus {
        let found = self.services.iter().find(|service| service.name == name);
        found.unwrap_or_else(|| panic!("no `{name}` in {self:#?}"))
    }

    pub fn is_settled(&self) -> bool {
        !self.services.is_empty() && self.services.iter().all(|service| service.state == "settled")
    }
}

impl ServiceStatus {
    /// Returns whether its reason or what it waits on contains `words`.
    pub fn tells(&self, words: &str) -> bool {
        self.reason.iter().chain(&self.waiting_on).any(|text| text.contains(words))
    }

    /// Returns whether it is settled with this slot active.
    pub fn is_settled_in(&self, slot: &str) -> bool {
        self.state == "settled" && self.active_slot.as_deref() == Some(slot)
    }
}
