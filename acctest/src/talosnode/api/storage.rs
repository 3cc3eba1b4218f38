//! `storage.StorageService`.

use metal_proto::talos::machine::machine_status_event::MachineStage;
use metal_proto::talos::storage;
use metal_proto::talos::storage::storage_service_server::StorageService;
use tonic::{Request, Response, Status};

use super::Api;
use super::machine::metadata;
use crate::rack::spec::DiskKind;

#[tonic::async_trait]
impl StorageService for Api {
    async fn disks(
        &self,
        request: Request<()>,
    ) -> Result<Response<storage::DisksResponse>, Status> {
        let installed = !matches!(
            self.node.status().0,
            MachineStage::Maintenance | MachineStage::Installing
        );
        let target = self
            .node
            .config()
            .install_disk(&self.node.machine.plan.disks)
            .ok();
        let disk = |(index, plan): (usize, &crate::rack::plan::DiskPlan)| storage::Disk {
            size: plan.bytes,
            model: plan.model.clone(),
            device_name: format!("/dev/{}", plan.device),
            serial: plan.serial.clone(),
            wwid: plan.wwid.clone(),
            r#type: match plan.kind {
                DiskKind::Nvme => storage::disk::DiskType::Nvme,
                DiskKind::Ssd => storage::disk::DiskType::Ssd,
                DiskKind::Hdd => storage::disk::DiskType::Hdd,
            }
            .into(),
            bus_path: plan.bus_path.clone(),
            system_disk: installed && target == Some(index),
            subsystem: "/sys/class/block".to_owned(),
            ..storage::Disk::default()
        };
        let disks = self
            .node
            .machine
            .plan
            .disks
            .iter()
            .enumerate()
            .map(disk)
            .collect();
        Ok(Response::new(storage::DisksResponse {
            messages: vec![storage::Disks {
                metadata: metadata(&request),
                disks,
            }],
        }))
    }
}
