"""What a harness's screen alone says of its activity: rules in one TOML file per harness, the last of the witnesses."""
