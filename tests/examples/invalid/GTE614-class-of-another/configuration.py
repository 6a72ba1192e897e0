class OtherConfig:
    pass
