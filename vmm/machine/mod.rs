//! A VM: its vCPU, how it boots, where everything is.
