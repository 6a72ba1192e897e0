class NewModel:
    pass
