//! How a rollout goes, on a terminal: a line a service, a bar a pull.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::view::{
    Page,
    status::{ink, state_text, what_next},
};
use crate::{
    controller::{StatusReport, status::ServiceStatus},
    domain::{ImageRef, ServiceName},
    plan::{ServiceState, WaitingOn},
};

const SPIN_EVERY: Duration = Duration::from_millis(120);

/// The lines and bars that are shown now.
pub struct Bars {
    screen: MultiProgress,
    services: BTreeMap<ServiceName, ProgressBar>,
    pulls: BTreeMap<ImageRef, ProgressBar>,
}

impl Bars {
    pub fn new() -> Bars {
        Bars {
            screen: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            services: BTreeMap::new(),
            pulls: BTreeMap::new(),
        }
    }

    /// Shows the report instead of the one before.
    pub fn show(&mut self, page: Page, report: &StatusReport) {
        let name_columns = report.services.iter().map(|s| s.name.as_str().len()).max().unwrap_or(0);
        for service in &report.services {
            let line = self
                .services
                .entry(service.name.clone())
                .or_insert_with(|| self.screen.add(ProgressBar::new_spinner()));
            show_service(line, page, service, name_columns);
        }
        let pulls: BTreeMap<ImageRef, Option<u8>> =
            report.services.iter().flat_map(|service| &service.barriers).filter_map(pull).collect();
        self.pulls.retain(|image, bar| {
            let goes_on = pulls.contains_key(image);
            if !goes_on {
                bar.finish_and_clear();
            }
            goes_on
        });
        for (image, percent) in pulls {
            let bar = self
                .pulls
                .entry(image.clone())
                .or_insert_with(|| self.screen.add(pull_bar(&image)));
            match percent {
                Some(percent) => bar.set_position(u64::from(percent)),
                None => bar.tick(),
            }
        }
    }

    /// Takes everything off the screen again.
    pub fn clear(self) {
        self.services.values().chain(self.pulls.values()).for_each(ProgressBar::finish_and_clear);
        // Only a terminal that is gone cannot be cleared.
        let _ = self.screen.clear();
    }
}

fn pull(barrier: &WaitingOn) -> Option<(ImageRef, Option<u8>)> {
    match barrier {
        WaitingOn::Pull { image, percent } => Some((image.clone(), *percent)),
        WaitingOn::Signature { .. }
        | WaitingOn::Readiness { .. }
        | WaitingOn::MinHealthyTime { .. }
        | WaitingOn::Dependency { .. }
        | WaitingOn::Drain { .. }
        | WaitingOn::Bake { .. }
        | WaitingOn::Standby { .. }
        | WaitingOn::Gate { .. }
        | WaitingOn::Idle { .. }
        | WaitingOn::Promotion { .. }
        | WaitingOn::Group { .. }
        | WaitingOn::Retry { .. }
        | WaitingOn::Unknown { .. }
        | WaitingOn::DiskSpace { .. }
        | WaitingOn::StepInHand => None,
    }
}

fn show_service(line: &ProgressBar, page: Page, service: &ServiceStatus, name_columns: usize) {
    let moves = service.state == ServiceState::Progressing;
    let template = if moves { "{spinner} {prefix}  {wide_msg}" } else { "  {prefix}  {wide_msg}" };
    line.set_style(style(template));
    if moves {
        line.enable_steady_tick(SPIN_EVERY);
    } else {
        line.disable_steady_tick();
    }
    let state = page.paint(ink(service.state), &format!("{:13}", state_text(service.state)));
    line.set_prefix(format!("{:name_columns$}  {state}", service.name));
    let next = what_next(service);
    line.set_message(if next.is_empty() { service.reason.clone() } else { next });
}

fn pull_bar(image: &ImageRef) -> ProgressBar {
    let bar = ProgressBar::new(100);
    bar.set_style(style("    pull {wide_msg} {bar:30} {percent:>3} %"));
    bar.set_message(image.to_string());
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are well formed")
}
