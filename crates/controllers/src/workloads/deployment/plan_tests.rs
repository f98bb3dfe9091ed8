use super::*;
use proptest::prelude::*;
use serde_json::json;

fn deployment(replicas: i32, image: &str, surge: i32, unavailable: i32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas, "revisionHistoryLimit": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}},
        },
    }))
    .unwrap()
}

/// The ReplicaSets of one Deployment in a cluster whose pods become available, or not, as told.
#[derive(Default)]
struct World {
    sets: Vec<Arc<ReplicaSet>>,
    clock: i64,
    serial: i64,
}

impl World {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + self.clock).unwrap()
    }

    /// Applies one plan; returns whether it changed anything.
    fn step(&mut self, d: &mut Deployment) -> bool {
        self.clock += 1;
        let pods = |uid: Option<&str>| {
            self.sets
                .iter()
                .filter(|s| s.metadata.uid.as_deref() != uid)
                .any(|s| s.status.as_ref().is_some_and(|s| s.replicas > 0))
        };
        let plan = plan(d, &self.sets, pods, self.now());
        let mut changed =
            plan.create.is_some() || !plan.update.is_empty() || !plan.delete.is_empty();
        if let Some(mut set) = plan.create {
            self.serial += 1;
            set.metadata.uid = Some(format!("rs{}", self.serial));
            set.metadata.generation = Some(1);
            set.metadata.creation_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now()));
            self.sets.push(Arc::new(set));
        }
        for (was, set) in plan.update {
            let at = self.sets.iter().position(|s| Arc::ptr_eq(s, &was)).unwrap();
            self.sets[at] = Arc::new(set);
        }
        self.sets.retain(|s| !plan.delete.iter().any(|d| d.metadata.uid == s.metadata.uid));
        if let Some(revision) = plan.revision {
            d.metadata
                .annotations
                .get_or_insert_default()
                .insert(annotations::REVISION.into(), revision);
            changed = true;
        }
        changed |= d.status.as_ref() != Some(&plan.status);
        d.status = Some(plan.status);
        changed
    }

    /// The ReplicaSet controller and the nodes: `available` tells how many of a set's pods work.
    fn run_pods(&mut self, available: impl Fn(usize, i32) -> i32) {
        for (at, set) in self.sets.iter_mut().enumerate() {
            let set = Arc::make_mut(set);
            let size = set.spec.as_ref().unwrap().replicas.unwrap();
            let works = available(at, size).clamp(0, size);
            let status = set.status.get_or_insert_default();
            status.replicas = size;
            status.available_replicas = Some(works);
            status.ready_replicas = Some(works);
            status.observed_generation = Some(1);
        }
    }

    fn settle(&mut self, d: &mut Deployment) {
        for _ in 0..200 {
            let changed = self.step(d);
            self.run_pods(|_, size| size);
            if !changed && !self.step(d) {
                return;
            }
        }
        panic!("does not settle: {:#?}", self.sizes());
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(|s| s.spec.as_ref().unwrap().replicas.unwrap()).collect()
    }
}

fn reason(d: &Deployment, kind: &str) -> String {
    let conditions = d.status.as_ref().unwrap().conditions.as_ref().unwrap();
    conditions.iter().find(|c| c.type_ == kind).and_then(|c| c.reason.clone()).unwrap_or_default()
}

fn revision_of(d: &Deployment) -> &str {
    &d.metadata.annotations.as_ref().unwrap()[annotations::REVISION]
}

fn set_image(d: &mut Deployment, image: &str) {
    let spec = d.spec.as_mut().unwrap();
    spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
}

#[test]
fn a_rollout_and_the_way_back() {
    let (mut world, mut d) = (World::default(), deployment(3, "v1", 1, 0));
    world.step(&mut d);
    assert_eq!(world.sizes(), [3]);
    assert_eq!(reason(&d, "Progressing"), "NewReplicaSetCreated");
    assert_eq!(reason(&d, "Available"), "MinimumReplicasUnavailable");
    world.settle(&mut d);
    assert_eq!(reason(&d, "Progressing"), "NewReplicaSetAvailable");
    assert_eq!(reason(&d, "Available"), "MinimumReplicasAvailable");
    assert_eq!(revision_of(&d), "1");

    set_image(&mut d, "v2");
    world.step(&mut d);
    assert_eq!(world.sizes(), [3, 1], "one more, none less");
    world.step(&mut d);
    assert_eq!(world.sizes(), [3, 1], "the new pod does not work yet");
    world.run_pods(|_, size| size);
    world.step(&mut d);
    assert_eq!(world.sizes(), [2, 1]);
    world.settle(&mut d);
    assert_eq!((world.sizes(), revision_of(&d)), (vec![0, 3], "2"));

    set_image(&mut d, "v1");
    world.settle(&mut d);
    assert_eq!((world.sizes(), revision_of(&d)), (vec![3, 0], "3"));
    let history = world.sets[0].metadata.annotations.as_ref().unwrap();
    assert_eq!(history["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn recreate_stops_the_old_pods_first() {
    let (mut world, mut d) = (World::default(), deployment(2, "v1", 0, 0));
    d.spec.as_mut().unwrap().strategy =
        serde_json::from_value(json!({"type": "Recreate"})).unwrap();
    world.settle(&mut d);
    set_image(&mut d, "v2");
    world.step(&mut d);
    assert_eq!(world.sizes(), [0]);
    world.step(&mut d);
    assert_eq!(world.sizes(), [0], "its pods are still there");
    world.run_pods(|_, size| size);
    world.settle(&mut d);
    assert_eq!(world.sizes(), [0, 2]);
}

#[test]
fn a_paused_deployment_scales_and_does_not_roll_out() {
    let (mut world, mut d) = (World::default(), deployment(2, "v1", 1, 0));
    world.settle(&mut d);
    d.spec.as_mut().unwrap().paused = Some(true);
    d.spec.as_mut().unwrap().replicas = Some(4);
    set_image(&mut d, "v2");
    world.settle(&mut d);
    assert_eq!(world.sizes(), [4]);
    assert_eq!(reason(&d, "Progressing"), "DeploymentPaused");
    d.spec.as_mut().unwrap().paused = None;
    world.settle(&mut d);
    assert_eq!(world.sizes(), [0, 4]);
}

#[test]
fn a_rollout_that_does_not_move_times_out() {
    let (mut world, mut d) = (World::default(), deployment(2, "v1", 1, 0));
    world.settle(&mut d);
    set_image(&mut d, "broken");
    for _ in 0..5 {
        world.step(&mut d);
        world.run_pods(|at, size| if at == 0 { size } else { 0 });
    }
    assert_eq!(reason(&d, "Progressing"), "ReplicaSetUpdated");
    world.clock += 601;
    world.step(&mut d);
    assert_eq!(reason(&d, "Progressing"), "ProgressDeadlineExceeded");
    assert_eq!(world.sizes(), [2, 1], "the old pods stay");
}

#[test]
fn history_is_limited() {
    let (mut world, mut d) = (World::default(), deployment(1, "v0", 1, 0));
    for version in 0..6 {
        set_image(&mut d, &format!("v{version}"));
        world.settle(&mut d);
    }
    assert_eq!((world.sets.len(), revision_of(&d)), (3, "6"));
}

proptest! {
    #[test]
    fn limits_hold_at_every_step_and_the_end_is_reached(
        replicas in 1..12i32, surge in 0..4i32, unavailable in 0..4i32,
        changes in prop::collection::vec((0..4u8, 1..12i32, prop::collection::vec(0..12i32, 1..6)), 1..6),
    ) {
        let (mut world, mut d) = (World::default(), deployment(replicas, "v0", surge, unavailable));
        world.settle(&mut d);
        for (image, size, works) in changes {
            set_image(&mut d, &format!("v{image}"));
            let scaled = d.spec.as_ref().unwrap().replicas != Some(size);
            d.spec.as_mut().unwrap().replicas = Some(size);
            for works in works {
                let before: i32 = world.sizes().iter().sum();
                world.step(&mut d);
                if !scaled {
                    let most = (size + surge_and_unavailable(&d).0).max(before);
                    prop_assert!(world.sizes().iter().sum::<i32>() <= most, "{:?} of {size}", world.sizes());
                }
                world.run_pods(|_, size| size.min(works));
            }
            world.settle(&mut d);
            prop_assert_eq!(world.sizes().iter().sum::<i32>(), size);
            prop_assert_eq!(reason(&d, "Progressing"), "NewReplicaSetAvailable");
        }
    }
}
