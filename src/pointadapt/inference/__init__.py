"""From a trained adapter to answers: probabilities, scores, labelled files and scenes."""
