"""How a deployment is started and taken back, whoever asks: people through the API, the monitor, workflows."""
