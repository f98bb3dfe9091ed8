//! kube-proxy's flags that change no packet here: its command line can be kept as it is.

/// Accepted without effect. They say how Go's program logs, waits and is watched; changes are made
/// at once here, and what others change is noticed within seconds.
#[derive(Debug, Default, clap::Args)]
pub(super) struct IgnoredArgs {
    #[arg(long, hide = true)]
    bind_address: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    bind_address_hard_fail: Option<bool>,
    #[arg(long, hide = true)]
    boot_id_file: Option<String>,
    #[arg(long, hide = true)]
    config_sync_period: Option<String>,
    #[arg(long, hide = true)]
    feature_gates: Vec<String>,
    #[arg(long, hide = true)]
    iptables_min_sync_period: Option<String>,
    #[arg(long, hide = true)]
    iptables_sync_period: Option<String>,
    #[arg(long, hide = true)]
    kube_api_burst: Option<i32>,
    #[arg(long, hide = true)]
    kube_api_content_type: Option<String>,
    #[arg(long, hide = true)]
    kube_api_qps: Option<f32>,
    #[arg(long, hide = true)]
    log_flush_frequency: Option<String>,
    #[arg(long, hide = true)]
    log_json_info_buffer_size: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    log_json_split_stream: Option<bool>,
    #[arg(long, hide = true)]
    log_text_info_buffer_size: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    log_text_split_stream: Option<bool>,
    /// Here it is --log-format.
    #[arg(long, hide = true)]
    logging_format: Option<String>,
    #[arg(long, hide = true)]
    machine_id_file: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    profiling: Option<bool>,
    #[arg(long, hide = true)]
    show_hidden_metrics_for_version: Option<String>,
    /// Here it is -v, or RUST_LOG.
    #[arg(long, hide = true)]
    v: Option<i32>,
    #[arg(long, hide = true)]
    vmodule: Option<String>,
}
